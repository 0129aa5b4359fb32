//! What one program cannot do with the manager of another.

use multiproc::{Dict, ManagerClient, connect};

use crate::{Outcome, say};

/// Receives a dictionary whose functions are the other program's.
pub(crate) fn take_dict(path: &str) -> Outcome {
    let mut connection = connect::<u8, Dict<String, u64>>(path)?;
    match connection.recv() {
        Ok(_) => Err("that should not have been".into()),
        Err(error) => {
            say(error);
            Ok(())
        }
    }
}

pub(crate) fn use_it(path: &str) -> Outcome {
    match ManagerClient::connect(path) {
        Ok(_) => Err("that should not have been".into()),
        Err(error) => {
            say(error);
            Ok(())
        }
    }
}
