//! What the memory limits of containers, control groups (cgroups(7)), leave a process.
//!
//! The kernel knows no error for a group without memory: whoever gives a memfd its pages is not
//! told that there are none. First it takes back what can be had again, and what there is swap for;
//! then somebody in the group is killed. So what is left is looked at before, swap among it: a
//! group that swaps stays near its limit, and goes on.

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
    /// Of `memory.stat`: what the kernel gives back when it has to, copies of files on disk, and
    /// what it knows of files. The first version does not tell the latter.
    spare: &'static [&'static str],
    swap_limit: &'static str,
    swap_used: &'static str,
    /// Whether the limit of swap is one of memory and swap together.
    is_swap_with_memory: bool,
}

const FIRST: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    spare: &["total_inactive_file", "total_active_file"],
    swap_limit: "memory.memsw.limit_in_bytes",
    swap_used: "memory.memsw.usage_in_bytes",
    is_swap_with_memory: true,
};

const SECOND: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    spare: &["inactive_file", "active_file", "slab_reclaimable"],
    swap_limit: "memory.swap.max",
    swap_used: "memory.swap.current",
    is_swap_with_memory: false,
};

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
    let groups = group.ancestors().take_while(|above| above.starts_with(&mount.at));
    files.left(&groups.collect::<Vec<_>>(), free_swap())
}

/// How much the machine can still swap out of groups with a limit.
fn free_swap() -> u64 {
    let table = read_to_string("/proc/swaps").unwrap_or_default();
    let free = free_of(&table);
    // Where it is 0 the kernel kills in a group with a limit, and does not swap.
    let is_off = || read_to_string("/proc/sys/vm/swappiness").is_ok_and(|word| word.trim() == "0");
    if free > 0 && is_off() { 0 } else { free }
}

/// Sums up the table of what can be swapped to: name, kind, size and used KiB.
fn free_of(swaps: &str) -> u64 {
    let free = swaps.lines().skip(1).filter_map(|line| {
        let mut numbers = line.split_whitespace().skip(2).map(str::parse::<u64>);
        let (size, used) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        size.saturating_sub(used).checked_mul(1024)
    });
    free.sum()
}

impl Files {
    /// What a group and those above it leave for shared memory, in a machine with so much swap.
    fn left(&self, groups: &[&Path], mut swap: u64) -> Option<u64> {
        // A limit is one for all groups below it.
        let left = groups.iter().rev().filter_map(|group| {
            let memory = distance(group, self.limit, self.used);
            if swap > 0 {
                swap = swap.min(self.swap_left(group, memory).unwrap_or(u64::MAX));
            }
            let stat = || read_to_string(group.join("memory.stat")).unwrap_or_default();
            let left = memory?.saturating_add(self.spare(&stat())).saturating_add(swap);
            Some((left - left / 64).saturating_sub(MARGIN))
        });
        left.min()
    }

    /// How much of one group can still be swapped out, if that has a limit.
    fn swap_left(&self, group: &Path, memory: Option<u64>) -> Option<u64> {
        // In the first version a group can say that it is not swapped out at all.
        if number(group, "memory.swappiness") == Some(0) {
            return Some(0);
        }
        let left = distance(group, self.swap_limit, self.swap_used)?;
        let memory = memory.filter(|_| self.is_swap_with_memory).unwrap_or(0);
        Some(left.saturating_sub(memory))
    }

    fn spare(&self, stat: &str) -> u64 {
        let numbers = stat.lines().filter_map(|line| {
            let (name, number) = line.split_once(' ')?;
            self.spare.contains(&name).then(|| number.trim().parse::<u64>().ok())?
        });
        numbers.sum()
    }
}

fn number(group: &Path, file: &str) -> Option<u64> {
    read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

/// How far it is to a limit, if there is one.
fn distance(group: &Path, limit: &str, used: &str) -> Option<u64> {
    // Where there is none, the second version says "max", and the first one a large number.
    let limit = number(group, limit).filter(|limit| *limit < NO_LIMIT)?;
    Some(limit.saturating_sub(number(group, used)?))
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

    /// After a walk over many files most of what a group used was that, and it was refused more.
    #[test]
    fn what_the_kernel_knows_of_files_is_no_use_of_memory() {
        let stat = "inactive_file 1\nslab_reclaimable 50\nslab_unreclaimable 3\nslab 53\n";
        assert_eq!(SECOND.spare(stat), 51);
    }

    #[test]
    fn the_swap_of_the_machine_is_what_its_table_says() {
        let head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(free_of(head), 0);
        let table = format!("{head}/dev/sda2  partition\t2048\t\t48\t\t-2\n/swap file 10 0 -3\n");
        assert_eq!(free_of(&table), 2010 * 1024);
    }

    const MIB: u64 = 1 << 20;

    /// Directories of files that look like a group and one in it; gone at the end.
    struct Groups([PathBuf; 2]);

    impl Groups {
        fn new(name: &str, files: [&[(&str, u64)]; 2]) -> Self {
            let name = format!("multiproc-{name}-{}", std::process::id());
            let outer = std::env::temp_dir().join(name);
            let groups = Self([outer.join("inner"), outer]);
            std::fs::create_dir_all(&groups.0[0]).unwrap();
            for (group, files) in groups.0.iter().zip(files) {
                for (file, mib) in files {
                    let text =
                        if *mib == u64::MAX { "max".into() } else { (mib * MIB).to_string() };
                    std::fs::write(group.join(file), format!("{text}\n")).unwrap();
                }
            }
            groups
        }

        /// How many MiB are left, the margin among them.
        fn left(&self, files: &Files, swap: u64) -> Option<u64> {
            let left = files.left(&self.0.each_ref().map(PathBuf::as_path), swap * MIB)?;
            Some((left + MARGIN).div_ceil(MIB))
        }
    }

    impl Drop for Groups {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0[1]);
        }
    }

    /// It stays near its limit: whatever it has not used for long is in the swap. It was refused
    /// everything, for good.
    #[test]
    fn a_full_group_that_can_swap_has_memory_left() {
        let full = [("memory.max", 64), ("memory.current", 64)];
        let limit =
            |max| [&full[..], &[("memory.swap.max", max), ("memory.swap.current", 8)]].concat();
        let groups = Groups::new("swap", [&limit(u64::MAX), &[]]);
        assert_eq!(groups.left(&SECOND, 0), Some(1), "no swap in the machine: the margin");
        assert_eq!(groups.left(&SECOND, 32), Some(32));
        let groups = Groups::new("less", [&limit(24), &[]]);
        assert_eq!(groups.left(&SECOND, 32), Some(16));
        // The limit of swap is one for the groups below it.
        let groups = Groups::new(
            "none",
            [&limit(24), &[("memory.swap.max", 0), ("memory.swap.current", 0)]],
        );
        assert_eq!(groups.left(&SECOND, 32), Some(1));
    }

    #[test]
    fn in_the_first_version_the_limit_of_swap_contains_that_of_memory() {
        let name = |memory, both, used, swappiness| {
            [
                ("memory.limit_in_bytes", 64),
                ("memory.usage_in_bytes", memory),
                ("memory.memsw.limit_in_bytes", both),
                ("memory.memsw.usage_in_bytes", used),
                ("memory.swappiness", swappiness),
            ]
        };
        let left = |name: &str, files: [(&'static str, u64); 5]| {
            Groups::new(name, [&files, &[]]).left(&FIRST, 1 << 10)
        };
        assert_eq!(left("both", name(64, 96, 74, 60)), Some(22));
        assert_eq!(left("equal", name(44, 64, 44, 60)), Some(20));
        assert_eq!(left("never", name(64, 96, 74, 0)), Some(1));
    }
}
