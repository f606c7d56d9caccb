DROP TABLE quickstart_users;
