//! What a process costs, from the request until it is reaped, in a small and in a large parent.

mod births;
mod support;

use births::processes;
use support::memory::Ballast;
use support::python::python_file;
use support::{Table, start};

/// What weighs on the large parent.
const GIB: usize = 1 << 30;

fn main() {
    births::init();
    let rounds = start("spawn", 100);
    table("One process, start to reaped").run(rounds);
    match Ballast::new(GIB) {
        Some(_ballast) => table("The same with 1 GiB touched in the parent").run(rounds),
        None => {
            println!("\nThis machine has not got 1 GiB to spare: the large parent is left out.")
        }
    }
}

fn table(title: &str) -> Table {
    Table::new(title)
        .row(processes("fork, _exit, waitpid", births::fork))
        .row(processes("posix_spawn of this program", births::posix_spawn))
        .row(processes("procspawn, spawn and join", births::procspawn_join))
        .row(processes("multiproc, spawn and join", births::multiproc_fork_server))
        .row(processes("multiproc, spawn and join, by exec", births::multiproc_spawn))
        .row(python_file("Python, fork", births::PYTHON, &["fork".to_owned()]))
}
