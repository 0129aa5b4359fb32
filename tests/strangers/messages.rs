//! What the two programs say to one another: each of them includes this file, in another place.

use multiproc::{Lock, Queue, Value};
use serde::{Deserialize, Serialize};

/// The first words of the connecting side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    pub name: String,
    pub numbers: Vec<u64>,
}

/// What it gets to work with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tools {
    pub jobs: Queue<Job>,
    pub lock: Lock,
    pub done: Value<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    Add(u64),
    Say(String),
}
