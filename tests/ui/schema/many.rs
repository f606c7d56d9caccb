diesel::table! { a (id) { id -> Integer } }
diesel::table! { b (id) { id -> Integer } }
diesel::table! { c (id) { id -> Integer } }
diesel::table! { d (id) { id -> Integer } }
diesel::table! { e (id) { id -> Integer } }
diesel::table! { f (id) { id -> Integer } }
diesel::view! { not_named { id -> Integer } }
