//! What types are called by programs that were built apart: without the paths that lead to them.
//!
//! Two programs that include one file have one type each, `first::jobs::Job` and
//! `second::wire::Job`. What they can agree on is `Job`, and how large it is.

use crate::segment::hash;

/// Tells types and codecs apart: FNV-1a over their names, without paths, and their sizes.
///
/// Within one program a handle cannot be taken for one of another type by accident, as functions
/// have the types of their arguments; between programs this is what they compare.
pub(crate) fn fingerprint<T, C>() -> u64 {
    let names = [std::any::type_name::<T>(), std::any::type_name::<C>()];
    let sizes = [size_of::<T>() as u64, align_of::<T>() as u64];
    let named = names.iter().flat_map(|name| pieces(name).flat_map(str::bytes).chain([0]));
    hash(named.chain(sizes.iter().flat_map(|size| size.to_le_bytes())))
}

/// The name of a type without the paths that differ between programs: `alloc::vec::Vec<Job>`.
pub(crate) fn short_name<T: ?Sized>() -> String {
    pieces(std::any::type_name::<T>()).collect()
}

/// What plain data is called by programs that were built apart.
pub(crate) fn data_name<T>() -> String {
    let (size, align) = (size_of::<T>(), align_of::<T>());
    format!("{} ({size} bytes, aligned to {align})", short_name::<T>())
}

/// The name of something that has plain data in it, with what all programs must agree on whatever
/// they say of their types.
pub(crate) fn with_layout<T>(what: &str) -> String {
    format!("{what} [{} bytes, aligned to {}]", size_of::<T>(), align_of::<T>())
}

/// The pieces of a type's name that stay: of each path the last segment, and what is in between.
///
/// Paths into the standard library stay whole. They are the same in every program, and what holds
/// the atomics of `core` must never be taken for what holds a type of the same name.
fn pieces(name: &str) -> impl Iterator<Item = &str> {
    const STANDARD: [&str; 3] = ["core::", "alloc::", "std::"];
    let is_in_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    name.split_inclusive(move |letter| !is_in_path(letter)).map(|piece| {
        let is_standard = STANDARD.iter().any(|library| piece.starts_with(library));
        if is_standard { piece } else { piece.rsplit("::").next().unwrap_or(piece) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    mod first {
        pub(super) struct Job(#[expect(dead_code, reason = "its size counts")] u64);
    }

    mod second {
        pub(super) mod deeper {
            pub(in super::super) struct Job(#[expect(dead_code, reason = "its size counts")] u64);
        }
    }

    mod third {
        pub(super) struct Job(#[expect(dead_code, reason = "its size counts")] [u64; 2]);
    }

    #[test]
    fn names_lose_their_paths_and_nothing_else() {
        assert_eq!(short_name::<Vec<first::Job>>(), "alloc::vec::Vec<Job>");
        assert_eq!(short_name::<(u8, [first::Job; 3], &'static str)>(), "(u8, [Job; 3], &str)");
        assert_eq!(short_name::<fn(first::Job) -> u8>(), "fn(Job) -> u8");
    }

    #[test]
    fn a_type_that_is_called_as_one_of_the_library_is_another_one() {
        #[expect(dead_code, reason = "its name counts")]
        struct AtomicU64(u64);
        use std::sync::atomic;
        assert_ne!(fingerprint::<AtomicU64, ()>(), fingerprint::<atomic::AtomicU64, ()>());
    }

    #[test]
    fn one_type_in_two_places_is_one_and_of_two_sizes_two() {
        use first::Job;
        assert_eq!(fingerprint::<Job, ()>(), fingerprint::<second::deeper::Job, ()>());
        assert_ne!(fingerprint::<Job, ()>(), fingerprint::<third::Job, ()>());
        assert_ne!(fingerprint::<Job, ()>(), fingerprint::<Job, u8>());
        assert_ne!(fingerprint::<Vec<Job>, ()>(), fingerprint::<Vec<u64>, ()>());
    }
}
