//! The handles in a parcel: how they get in, what keeps them on the way, how they get out.
//!
//! ```text
//! bytes:  payload | manifest | length of the manifest, u32 little endian
//! fds:    one lease a segment, then whatever handles brought
//! ```

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::segment::{self, Courier, Segment, Shared};

/// How many handles and fds one parcel can carry.
pub(crate) const HANDLES_MAX: usize = 1 << 16;

/// A handle that only one process has at a time: it leaves here, and comes back if it cannot go.
pub(crate) trait Moving: Send + Sync + std::fmt::Debug {
    /// Hands the handle over to the courier, if it is ours to give.
    fn depart(&self, courier: u32) -> Result<()>;
    /// Takes it back from the courier.
    fn come_back(&self, courier: u32);
}

/// What a parcel needs besides its bytes. Dropped before it is sent, it gives everything back.
#[derive(Debug, Default)]
pub(crate) struct Cargo {
    couriers: Vec<Courier>,
    fds: Vec<OwnedFd>,
    /// Those of `fds` that many handles of one parcel have in common, and their numbers.
    common: Vec<(Arc<OwnedFd>, u32)>,
    moves: Vec<(Arc<dyn Moving>, u32)>,
    blocks: Vec<(u32, u32)>,
    /// Why a handle could not be packed: formats keep no more of it than "custom error".
    reason: Option<Error>,
}

/// What is written behind the payload.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    /// Of each segment: its name, and which participant is the courier.
    segments: Vec<(u128, u32)>,
    /// Of each handle: the segment, counted from the front, and the block.
    blocks: Vec<(u32, u32)>,
    /// How many fds follow the leases.
    fds: u32,
}

thread_local! {
    /// Whether this thread packs a parcel, and what is in it; most parcels hold no handle at all.
    static IS_PACKING: Cell<bool> = const { Cell::new(false) };
    static OUTGOING: Cell<Option<Box<Cargo>>> = const { Cell::new(None) };
    static INCOMING: RefCell<Option<Incoming>> = const { RefCell::new(None) };
}

/// Turns a handle's error into one of the format's, and keeps the original with the parcel.
pub(crate) fn not_packed<E>(error: Error, custom: impl FnOnce(String) -> E) -> E {
    let message = error.to_string();
    if IS_PACKING.get() {
        let mut cargo = OUTGOING.take().unwrap_or_default();
        cargo.reason = Some(error);
        OUTGOING.set(Some(cargo));
    }
    custom(message)
}

/// As [`not_packed`], for a handle that could not be taken out of its parcel.
pub(crate) fn not_unpacked<E>(error: Error, custom: impl FnOnce(String) -> E) -> E {
    let message = error.to_string();
    INCOMING.with_borrow_mut(|incoming| {
        if let Some(incoming) = incoming {
            incoming.reason = Some(error);
        }
    });
    custom(message)
}

/// While it lives, handles that this thread serializes go into one parcel. Parcels nest: a value
/// that sends a message while it is serialized packs a parcel within a parcel.
pub(crate) struct Packing {
    was_packing: bool,
    outer: Option<Box<Cargo>>,
}

impl Packing {
    #[inline]
    pub(crate) fn begin() -> Self {
        Self { was_packing: IS_PACKING.replace(true), outer: OUTGOING.take() }
    }

    /// The handles that were packed, if there were any.
    #[inline]
    pub(crate) fn end(self) -> Option<Box<Cargo>> {
        // `drop` puts the outer parcel back.
        OUTGOING.take()
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        IS_PACKING.set(self.was_packing);
        drop(OUTGOING.replace(self.outer.take()));
    }
}

/// Puts a block into the parcel that this thread packs, and says under which number.
pub(crate) fn put_block(shared: &Shared, moving: Option<Arc<dyn Moving>>) -> Result<u32> {
    with_outgoing(|cargo| {
        let segment = cargo.courier_for(shared.segment())?;
        let courier = &cargo.couriers[segment as usize];
        courier.hold(shared.block());
        if let Some(moving) = moving {
            moving.depart(courier.id())?;
            cargo.moves.push((moving, courier.id()));
        }
        cargo.blocks.push((segment, shared.block()));
        number_of(cargo.blocks.len())
    })
}

/// Puts a copy of an fd into the parcel that this thread packs, and says under which number.
pub(crate) fn put_fd(fd: BorrowedFd<'_>) -> Result<u32> {
    with_outgoing(|cargo| {
        let copy = fd.try_clone_to_owned();
        cargo.fds.push(copy.context(|| "copy an fd that a handle needs".to_owned())?);
        number_of(cargo.fds.len())
    })
}

/// As [`put_fd`], for an fd that many handles have in common: it goes once.
pub(crate) fn put_common_fd(fd: &Arc<OwnedFd>) -> Result<u32> {
    let known = |cargo: &mut Cargo| {
        let common = cargo.common.iter().find(|(known, _)| Arc::ptr_eq(known, fd));
        Ok(common.map(|(_, number)| *number))
    };
    if let Some(number) = with_outgoing(known)? {
        return Ok(number);
    }
    let number = put_fd(fd.as_fd())?;
    with_outgoing(|cargo| {
        cargo.common.push((Arc::clone(fd), number));
        Ok(number)
    })
}

fn with_outgoing<T>(put: impl FnOnce(&mut Cargo) -> Result<T>) -> Result<T> {
    if !IS_PACKING.get() {
        return Err(outside("serialized"));
    }
    let mut cargo = OUTGOING.take().unwrap_or_default();
    let result = put(&mut cargo);
    OUTGOING.set(Some(cargo));
    result
}

fn outside(what: &str) -> Error {
    let hint = "handles cross only as arguments and results of processes, and through connections";
    Error::new(ErrorKind::Misuse, format!("a handle was {what} outside a parcel: {hint}"))
}

fn number_of(count: usize) -> Result<u32> {
    if count > HANDLES_MAX {
        let what = format!("more than {HANDLES_MAX} handles in one parcel");
        return Err(Error::new(ErrorKind::Limit, what));
    }
    Ok(count as u32 - 1)
}

impl Cargo {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.fds.is_empty()
    }

    /// The error of a handle that could not be packed, behind the format's.
    pub(crate) fn take_reason(&mut self) -> Option<Error> {
        self.reason.take()
    }

    /// The leases, then the fds: the order in which they must arrive.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let leases = self.couriers.iter().map(Courier::lease);
        leases.chain(self.fds.iter().map(AsFd::as_fd)).collect()
    }

    /// What was packed is on its way, and not this process's any more.
    pub(crate) fn commit(mut self) {
        self.moves.clear();
        self.couriers.drain(..).for_each(Courier::send_off);
    }

    /// Writes the manifest behind the payload.
    pub(crate) fn seal(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let couriers = self.couriers.iter();
        let manifest = Manifest {
            segments: couriers.map(|one| (one.segment().uuid(), one.id())).collect(),
            blocks: self.blocks.clone(),
            fds: self.fds.len() as u32,
        };
        append(&manifest, bytes)
    }

    fn courier_for(&mut self, segment: &Arc<Segment>) -> Result<u32> {
        let known = self.couriers.iter().position(|own| Arc::ptr_eq(own.segment(), segment));
        let index = match known {
            Some(index) => index,
            None => {
                self.couriers.push(Courier::new(segment)?);
                self.couriers.len() - 1
            }
        };
        Ok(index as u32)
    }
}

impl Drop for Cargo {
    fn drop(&mut self) {
        for (moving, courier) in self.moves.drain(..) {
            moving.come_back(courier);
        }
    }
}

/// Says that nothing follows the payload.
pub(crate) fn append_none(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&0_u32.to_le_bytes());
}

fn append(manifest: &Manifest, bytes: &mut Vec<u8>) -> Result<()> {
    let begin = bytes.len();
    let with_manifest = postcard::to_extend(manifest, std::mem::take(bytes))
        .map_err(|cause| Error::new(ErrorKind::Codec, "write a manifest").because(cause))?;
    *bytes = with_manifest;
    let length = (bytes.len() - begin) as u32;
    bytes.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

/// What this thread is unpacking.
struct Incoming {
    /// One for each segment. What nobody took from him is closed when he is dropped.
    couriers: Vec<Courier>,
    blocks: Vec<Option<(u32, u32)>>,
    fds: Vec<Option<OwnedFd>>,
    /// Why a handle could not be unpacked.
    reason: Option<Error>,
}

/// A handle's block that has arrived, and in whose hands it came.
pub(crate) struct Arrival {
    pub(crate) shared: Shared,
    pub(crate) courier: u32,
}

/// While it lives, handles that this thread deserializes come out of one parcel. What nobody took
/// is closed when it drops.
pub(crate) struct Unpacking {
    outer: Option<Incoming>,
}

impl Unpacking {
    /// Opens a parcel: its payload, and the handles that wait to be taken.
    pub(crate) fn begin(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<(&[u8], Self)> {
        let (payload, manifest) = split(bytes)?;
        let incoming = Incoming::receive(manifest, fds)?;
        let outer = INCOMING.with_borrow_mut(|own| own.replace(incoming));
        Ok((payload, Self { outer }))
    }

    /// While it lives, there is no parcel: for those who deserialize what is in none.
    pub(crate) fn hide() -> Self {
        Self { outer: INCOMING.with_borrow_mut(Option::take) }
    }

    /// Closes what nobody took. The error of a handle that could not be taken, if there was one.
    pub(crate) fn end(self) -> Option<Error> {
        INCOMING.with_borrow_mut(|own| own.as_mut()?.reason.take())
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        let inner = INCOMING.with_borrow_mut(|own| std::mem::replace(own, self.outer.take()));
        drop(inner);
    }
}

/// Takes a block out of the parcel that this thread unpacks.
pub(crate) fn take_block(number: u32) -> Result<Arrival> {
    with_incoming(|incoming| {
        let taken = incoming.blocks.get_mut(number as usize).and_then(Option::take);
        let (segment, block) = taken.ok_or_else(malformed)?;
        let courier = incoming.couriers.get(segment as usize).ok_or_else(malformed)?;
        let shared = Shared::on(courier.segment(), block)?;
        Ok(Arrival { shared, courier: courier.id() })
    })
}

/// Takes an fd out of the parcel that this thread unpacks.
pub(crate) fn take_fd(number: u32) -> Result<OwnedFd> {
    with_incoming(|incoming| {
        incoming.fds.get_mut(number as usize).and_then(Option::take).ok_or_else(malformed)
    })
}

/// Copies an fd that many handles of the parcel have in common.
pub(crate) fn copy_fd(number: u32) -> Result<OwnedFd> {
    with_incoming(|incoming| {
        let fd =
            incoming.fds.get(number as usize).and_then(Option::as_ref).ok_or_else(malformed)?;
        fd.try_clone().context(|| "copy an fd that a handle needs".to_owned())
    })
}

fn with_incoming<T>(take: impl FnOnce(&mut Incoming) -> Result<T>) -> Result<T> {
    INCOMING.with_borrow_mut(|incoming| match incoming {
        Some(incoming) => take(incoming),
        None => Err(outside("deserialized")),
    })
}

fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "the manifest of a parcel")
}

/// The payload of bytes that have a manifest, and a letter's number, behind them.
pub(crate) fn payload_of(bytes: &[u8]) -> &[u8] {
    let with_manifest = bytes.split_last_chunk::<8>().map_or(bytes, |(rest, _)| rest);
    split(with_manifest).map_or(bytes, |(payload, _)| payload)
}

fn split(bytes: &[u8]) -> Result<(&[u8], Manifest)> {
    let (rest, length) = bytes.split_last_chunk::<4>().ok_or_else(malformed)?;
    let length = u32::from_le_bytes(*length) as usize;
    let at = rest.len().checked_sub(length).ok_or_else(malformed)?;
    let (payload, manifest) = rest.split_at(at);
    if manifest.is_empty() {
        return Ok((payload, Manifest::default()));
    }
    let manifest = postcard::from_bytes(manifest).map_err(|cause| malformed().because(cause))?;
    Ok((payload, manifest))
}

impl Incoming {
    fn receive(manifest: Manifest, fds: Vec<OwnedFd>) -> Result<Self> {
        if fds.len() != manifest.segments.len() + manifest.fds as usize {
            return Err(malformed());
        }
        let mut fds = fds.into_iter();
        let mut incoming = Self {
            couriers: Vec::new(),
            blocks: manifest.blocks.into_iter().map(Some).collect(),
            fds: Vec::new(),
            reason: None,
        };
        for ((uuid, courier), lease) in manifest.segments.into_iter().zip(fds.by_ref()) {
            incoming.couriers.push(segment::receive(uuid, lease, courier)?);
        }
        incoming.fds = fds.map(Some).collect();
        Ok(incoming)
    }
}
