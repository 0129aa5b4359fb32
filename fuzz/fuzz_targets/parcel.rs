//! Arbitrary changes to a parcel that holds handles, and arbitrary bytes in its place.
#![no_main]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use libfuzzer_sys::fuzz_target;
use multiproc::Pipe;
use multiproc::fuzzing::{Load, forget_arenas, pack, unpack};

#[path = "../../tests/common/script.rs"]
mod script;

fn load() -> Option<Load> {
    let (left, right) = Pipe::builder().capacity(256).duplex().ok()?;
    let plain = Pipe::builder().plain().slots(2).simplex().ok();
    let (_out, inn) = Pipe::builder().capacity(256).simplex().ok()?;
    let named = BTreeMap::from([("x".to_owned(), inn)]);
    Some(Load { number: 7, text: Some("text".to_owned()), framed: vec![left, right], plain, named })
}

/// What happens to the parcel on its way: how, where, which byte.
type Change = (u8, u16, u8);

fuzz_target!(|input: (Vec<u8>, Vec<Change>, Vec<(u32, u64)>)| {
    let (own, changes, words) = input;
    forget_arenas();
    let Some((mut bytes, mut fds)) = load().and_then(|load| pack(&load).ok()) else { return };
    let windows = script::Window::all();
    for (how, at, byte) in changes {
        let at = usize::from(at) % bytes.len().max(1);
        match how % 8 {
            0..=2 if !bytes.is_empty() => bytes[at] = byte,
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.insert(at.min(bytes.len()), byte),
            5 if !fds.is_empty() => drop(fds.remove(at % fds.len())),
            6 => fds.extend(fds.get(at).and_then(|fd| fd.try_clone().ok())),
            7 => fds.extend(File::open("/dev/null").map(OwnedFd::from)),
            _ => bytes = own.clone(),
        }
    }
    for (at, word) in words {
        if let Some(window) = windows.first() {
            window.poke(at as usize % (script::DATA + 0x1000) & !7, word);
        }
    }
    if let Ok(mut load) = unpack(&bytes, fds) {
        for end in &mut load.framed {
            let _ = end.try_send("x".to_owned());
            let _ = end.try_recv();
        }
    }
});
