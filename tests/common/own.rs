//! Names that belong to one test.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use multiproc::{Name, Result, ToName};

/// A name of one test, which goes with it.
#[derive(Debug)]
pub struct Own(pub Name);

impl Own {
    pub fn new(test: &str) -> Self {
        let own = Self(Name::new(&format!("test-{test}-{}", std::process::id())).unwrap());
        own.0.unlink().unwrap();
        own
    }

    pub fn text(&self) -> String {
        self.0.as_str().to_owned()
    }

    /// The file behind it.
    pub fn path(&self) -> String {
        format!("/dev/shm{}", self.0.os_id())
    }

    pub fn is_taken(&self) -> bool {
        std::path::Path::new(&self.path()).exists()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.unlink();
    }
}

impl ToName for Own {
    fn to_name(&self) -> Result<Name> {
        Ok(self.0.clone())
    }
}
