# Programs that the checks of dependencies, features and packages need; to be sourced.

# Installs a program of cargo's from crates.io, where it is missing.
install_cargo_tool() {
    command -v "$1" >/dev/null || cargo install --locked --quiet "$1"
}
