mod gone;
macro_rules! tenant { ($name:ident) => { diesel::table! { $name (id) { id -> Integer } } }; }
tenant!(users);
