//! The servers that other tests rely on.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use audit_tests::{LONG, PostgresServer, RedisServer, TestDatabase, TestRedis, wait_until};
use diesel::prelude::*;

fn one(connection: &mut PgConnection) -> QueryResult<i32> {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("1")).get_result(connection)
}

#[test]
fn each_test_database_is_another_one() {
    let (first, second) = (TestDatabase::new(), TestDatabase::new());
    assert_ne!(first.url(), second.url());
    let create = "CREATE TABLE only_here (id INTEGER)";
    diesel::sql_query(create)
        .execute(&mut first.connection())
        .unwrap();
    diesel::sql_query(create)
        .execute(&mut second.pool().get().unwrap())
        .unwrap();
}

#[test]
fn a_test_database_is_gone_afterwards() {
    let database = TestDatabase::new();
    let url = database.url();
    let mut still_open = database.connection();
    assert_eq!(one(&mut still_open), Ok(1));
    drop(database);
    assert!(PgConnection::establish(&url).is_err());
}

#[test]
fn each_test_key_is_another_one_and_gone_afterwards() {
    let (first, second) = (TestRedis::new(), TestRedis::new());
    assert_ne!(first.key(), second.key());
    let mut connection = second.connection();
    redis::cmd("SET")
        .arg(second.key())
        .arg(1)
        .exec(&mut connection)
        .unwrap();
    let key = second.key().to_owned();
    drop(second);
    let exists: bool = redis::cmd("EXISTS")
        .arg(key)
        .query(&mut connection)
        .unwrap();
    assert!(!exists);
}

#[test]
fn a_private_postgres_can_be_killed_and_restarted() {
    let mut server = PostgresServer::start();
    let database = TestDatabase::on(&server.url());
    let mut before = database.connection();
    server.kill9();
    assert!(one(&mut before).is_err());
    assert!(PgConnection::establish(&server.url()).is_err());
    server.restart();
    assert_eq!(one(&mut database.connection()), Ok(1));
    server.stop();
    assert!(PgConnection::establish(&server.url()).is_err());
    server.restart();
    assert_eq!(one(&mut database.connection()), Ok(1));
}

#[test]
fn a_private_redis_can_be_killed_and_restarted() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    redis::cmd("SET")
        .arg("a")
        .arg(1)
        .exec(&mut server.connection())
        .unwrap();
    server.kill9();
    assert!(
        redis::Client::open(server.url())
            .unwrap()
            .get_connection()
            .is_err()
    );
    server.restart();
    let value: i32 = redis::cmd("GET")
        .arg("a")
        .query(&mut server.connection())
        .unwrap();
    assert_eq!(value, 1);
}

/// Not a test of its own: it starts servers, names them, and waits to be killed.
#[test]
#[ignore = "a child process of another test"]
fn child() {
    if std::env::var_os("AUDIT_TEST_CHILD").is_some() {
        let (postgres, redis) = (PostgresServer::start(), RedisServer::start(&[]));
        println!("{}", postgres.url());
        println!("{}", redis.url());
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

#[test]
fn servers_end_with_a_test_that_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env("AUDIT_TEST_CHILD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut urls = lines
        .map_while(Result::ok)
        .filter(|line| line.contains("://"));
    let (postgres, redis) = (urls.next().unwrap(), urls.next().unwrap());
    drop(PgConnection::establish(&postgres).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the servers' end", LONG, || {
        let client = redis::Client::open(redis.as_str()).unwrap();
        PgConnection::establish(&postgres).is_err() && client.get_connection().is_err()
    });
}
