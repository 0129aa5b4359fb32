//! What the leader of the storm has in the beginning and in the end.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use super::common::open_fds;

/// What this process has.
#[derive(Clone, Copy, Debug)]
pub struct Possessions {
    fds: usize,
    mappings: usize,
    segments: usize,
    shared_bytes: u64,
}

impl Possessions {
    pub fn now() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut files = HashMap::new();
        for fd in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let link = std::fs::read_link(fd.path()).unwrap_or_default();
            if link.to_string_lossy().contains("memfd:multiproc")
                && let Ok(file) = std::fs::metadata(fd.path())
            {
                files.insert((file.dev(), file.ino()), file.blocks() * 512);
            }
        }
        Self {
            fds: open_fds(),
            mappings: maps.lines().count(),
            segments: maps.lines().filter(|line| line.contains("memfd:multiproc")).count(),
            shared_bytes: files.values().sum(),
        }
    }

    /// An arena that was new when the counting began may be kept, and the heap grows.
    pub fn compare(self, later: Self) {
        println!("{self:?}\n{later:?}");
        assert!(later.fds <= self.fds + 1, "fds");
        assert!(later.segments <= self.segments + 1, "segments");
        assert!(later.mappings <= self.mappings + 8, "mappings");
        assert!(later.shared_bytes <= self.shared_bytes + (4 << 20), "shared memory");
    }
}
