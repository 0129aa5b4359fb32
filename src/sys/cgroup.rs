//! What the memory limits of containers, control groups (cgroups(7)), leave a process.
//!
//! The kernel knows no error for a group without memory: whoever gives a memfd its pages is not
//! told that there are none, somebody in the group is killed. So the limit is looked at before.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// From here on a limit is none: 2^60.
const NO_LIMIT: u64 = 1 << 60;

/// What is left to programs for their own memory, and with a 64th part to the kernel for tables.
const MARGIN: u64 = 1 << 20;

/// How one of the two versions of control groups says what it says.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Of `memory.stat`: what the kernel gives back when it has to, copies of files on disk.
    spare: [&'static str; 2],
}

const FIRST: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    spare: ["total_inactive_file", "total_active_file"],
};

const SECOND: Files =
    Files { limit: "memory.max", used: "memory.current", spare: ["inactive_file", "active_file"] };

/// Where the groups that limit memory can be seen as directories.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    /// The group that is seen there.
    root: PathBuf,
    is_second: bool,
}

/// How many bytes the groups of this process leave it. `None` if none of them has a limit, or they
/// cannot be seen.
pub(crate) fn memory_left() -> Option<u64> {
    static MOUNT: OnceLock<Option<Mount>> = OnceLock::new();
    let find = || find_mount(&read_to_string("/proc/self/mountinfo").ok()?);
    let mount = MOUNT.get_or_init(find).as_ref()?;
    // Asked each time: a process can be moved.
    let group = mount.group(&read_to_string("/proc/self/cgroup").ok()?)?;
    let files = if mount.is_second { &SECOND } else { &FIRST };
    // A limit is one for all groups below it.
    let groups = group.ancestors().take_while(|above| above.starts_with(&mount.at));
    groups.filter_map(|group| files.left(group)).min()
}

impl Files {
    /// What one group has left for shared memory.
    fn left(&self, group: &Path) -> Option<u64> {
        let number = |file| read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        // Where there is none, the second version says "max", and the first one a large number.
        let limit = number(self.limit).filter(|limit| *limit < NO_LIMIT)?;
        let left = limit.saturating_sub(number(self.used)?);
        let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
        let left = left.saturating_add(self.spare(&stat));
        Some((left - left / 64).saturating_sub(MARGIN))
    }

    fn spare(&self, stat: &str) -> u64 {
        let numbers = stat.lines().filter_map(|line| {
            let (name, number) = line.split_once(' ')?;
            self.spare.contains(&name).then(|| number.trim().parse::<u64>().ok())?
        });
        numbers.sum()
    }
}

/// The mount in which memory is limited: the first version's if it does that, or the second's.
fn find_mount(mountinfo: &str) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        // proc(5): id, parent, device, root, where, how, any words, -, kind, of what, how.
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, at) = (PathBuf::from(place.next()?), PathBuf::from(place.next()?));
        let mut kind = kind.split(' ');
        let is_second = match kind.next()? {
            "cgroup" if kind.nth(1)?.split(',').any(|word| word == "memory") => false,
            "cgroup2" => true,
            _ => return None,
        };
        Some(Mount { at, root, is_second })
    });
    mounts.min_by_key(|mount| mount.is_second)
}

impl Mount {
    /// The directory of a process's group, by what the kernel says of its groups.
    fn group(&self, groups: &str) -> Option<PathBuf> {
        let path = groups.lines().find_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            let is_it = if self.is_second {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|controller| controller == "memory")
            };
            is_it.then_some(path)
        })?;
        // A group that cannot be seen from here is below one that can.
        let below = Path::new(path).strip_prefix(&self.root).ok();
        let below = below.filter(|below| !below.starts_with(".."));
        Some(below.map_or_else(|| self.at.clone(), |below| self.at.join(below)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu\n\
        35 31 0:32 /docker/1 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
    const GROUPS: &str = "5:cpu,cpuacct:/other\n4:memory:/docker/1/inner\n0::/system/a:b\n";

    fn mount(at: &str, root: &str, is_second: bool) -> Mount {
        Mount { at: at.into(), root: root.into(), is_second }
    }

    #[test]
    fn the_group_of_a_process_is_found_in_both_versions() {
        let first = find_mount(BOTH).unwrap();
        assert_eq!(first, mount("/sys/fs/cgroup/memory", "/docker/1", false));
        assert_eq!(first.group(GROUPS).unwrap(), Path::new("/sys/fs/cgroup/memory/inner"));
        let second = find_mount(&BOTH.lines().take(3).collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(second, mount("/sys/fs/cgroup/unified", "/", true));
        assert_eq!(second.group(GROUPS).unwrap(), Path::new("/sys/fs/cgroup/unified/system/a:b"));
        assert_eq!(find_mount(BOTH.lines().next().unwrap()), None);
    }

    #[test]
    fn a_group_that_cannot_be_seen_is_below_the_one_that_can() {
        for outside in ["4:memory:/elsewhere\n", "4:memory:/docker/1/../2\n"] {
            let first = find_mount(BOTH).unwrap();
            assert_eq!(first.group(outside).unwrap(), first.at, "{outside}");
        }
    }

    #[test]
    fn copies_of_files_are_no_use_of_memory() {
        let stat = "cache 7\ninactive_file 1\ntotal_inactive_file 100\ntotal_active_file 20\n";
        assert_eq!(FIRST.spare(stat), 120);
        assert_eq!(SECOND.spare(stat), 1);
    }
}
