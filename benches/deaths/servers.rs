//! Servers of managers, with a call under way that does not end.

use std::time::Duration;

use multiproc::{ErrorKind, Manager, ManagerClient, Pipe};

use super::{Hear, elsewhere, here, wait_for};

/// In the server: until nobody is there who could end it.
fn hold(mut gate: Hear<()>) {
    let _ = gate.recv();
}

fn call(client: &ManagerClient) {
    let (_open, gate) = Pipe::simplex().expect("a pipe");
    let error = client.run(hold, gate).expect_err("the server is gone");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
}

/// Until the server's parent has the error.
pub(crate) fn owner_calls() -> Duration {
    let manager = Manager::start().expect("a manager");
    here(manager.pid(), || call(&manager))
}

/// Until somebody else has it.
pub(crate) fn client_calls() -> Duration {
    let manager = Manager::start().expect("a manager");
    elsewhere(manager.pid(), |(client, tell)| wait_for(tell, || call(&client)), manager.client())
}
