//! Pipes that two programs find by a name.
//!
//! ```text
//! block 0: from the maker to the guest     writer: the maker     reader: the guest
//! block 1: from the guest to the maker     writer: the guest     reader: the maker
//! ```
//!
//! The guest is a participant that is set aside until somebody comes; so both its sides are claimed
//! at once, by a lease, and whoever dies in between has either not come or dies as the guest.

use crate::error::{Error, ErrorKind, Result};
use crate::raw::lane::Role;
use crate::segment::{self, GUEST, Name, Plan, Shared, ToName};
use crate::transfer::codec::{Codec, Serde, layout};

use super::builder::{PipeBuilder, lane_spec, prepare};
use super::connection::Connection;
use super::end::End;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::pipe::Pipe;

impl Pipe {
    /// Makes a pipe whose other end another program finds by its name, and gives this end: it sends
    /// `A`s and receives `B`s.
    ///
    /// There are two ends, and one program has each; so a pipe that lost one of them is used up.
    /// See [`Name`] for how long it stays. Handles cannot be sent through it, as these need
    /// sockets.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Pipe};
    ///
    /// let name = Name::new(&format!("pipe-{}", std::process::id()))?;
    /// let mut here = Pipe::create::<u64, String>(&name)?;
    /// // In another program:
    /// let mut there = Pipe::open::<String, u64>(&name)?;
    /// here.send(7)?;
    /// let number = there.recv()?;
    /// there.send(number.to_string())?;
    /// assert_eq!(here.recv()?, "7");
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](ErrorKind::Exists) if something has the name; and as [`duplex`](Self::duplex).
    pub fn create<A, B>(name: impl ToName) -> Result<Connection<A, B>>
    where
        Serde: Codec<A> + Codec<B>,
    {
        Self::builder().create(name)
    }

    /// Opens the other end of a pipe that some program has made under this name: it sends `A`s and
    /// receives `B`s, which are what the maker receives and sends.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Pipe};
    ///
    /// let name = Name::new(&format!("pipe-open-{}", std::process::id()))?;
    /// assert_eq!(Pipe::open::<u64, u64>(&name).unwrap_err().kind(), ErrorKind::NotFound);
    /// let mut here = Pipe::create::<u64, u64>(&name)?;
    /// let mut there = Pipe::open::<u64, u64>(&name)?;
    /// here.send(7)?;
    /// assert_eq!(there.recv()?, 7);
    /// // There is no third end.
    /// assert_eq!(Pipe::open::<u64, u64>(&name).unwrap_err().kind(), ErrorKind::Exists);
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing has the name, [`Exists`](ErrorKind::Exists) if
    /// somebody else has or had that end, [`Mismatch`](ErrorKind::Mismatch) if something else has
    /// the name or the messages are other ones, [`Corrupt`](ErrorKind::Corrupt) if it is damaged.
    pub fn open<A, B>(name: impl ToName) -> Result<Connection<A, B>>
    where
        Serde: Codec<A> + Codec<B>,
    {
        Self::builder().open(name)
    }

    /// Opens an end of a pipe of this name: the first who does so makes it, the second has the
    /// other end. One that is used up, as both ends were taken and no process has one any more, is
    /// made anew.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Pipe};
    ///
    /// let name = Name::new(&format!("pipe-either-{}", std::process::id()))?;
    /// let mut one = Pipe::open_or_create::<String>(&name)?;
    /// // In another program, which may as well be the first:
    /// let mut other = Pipe::open_or_create::<String>(&name)?;
    /// one.send("hello".to_owned())?;
    /// assert_eq!(other.recv()?, "hello");
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Exists` if both ends are taken; and as [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create<T>(name: impl ToName) -> Result<Connection<T, T>>
    where
        Serde: Codec<T>,
    {
        Self::builder().open_or_create(name)
    }
}

impl<C> PipeBuilder<C> {
    /// Makes a pipe whose other end another program finds. See [`Pipe::create`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Pipe};
    ///
    /// let name = Name::new(&format!("pipe-built-{}", std::process::id()))?;
    /// let mut here = Pipe::builder().plain().slots(8).create::<u64, f32>(&name)?;
    /// // In another program:
    /// let mut there = Pipe::builder().plain().open::<f32, u64>(&name)?;
    /// here.send(7)?;
    /// assert_eq!(there.recv()?, 7);
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Pipe::create`], or a capacity is out of its range.
    pub fn create<A, B>(self, name: impl ToName) -> Result<Connection<A, B, C>>
    where
        C: Codec<A> + Codec<B>,
    {
        self.create_as(&name.to_name()?)
    }

    /// Opens the other end of a pipe. See [`Pipe::open`]. Its capacity is what the maker chose.
    ///
    /// # Examples
    /// Both sides must have the same codec:
    /// ```
    /// use multiproc::{ErrorKind, Name, Pipe};
    ///
    /// let name = Name::new(&format!("pipe-codec-{}", std::process::id()))?;
    /// let _here = Pipe::builder().plain().create::<u64, u64>(&name)?;
    /// assert_eq!(Pipe::open::<u64, u64>(&name).unwrap_err().kind(), ErrorKind::Mismatch);
    /// let _there = Pipe::builder().plain().open::<u64, u64>(&name)?;
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Pipe::open`].
    pub fn open<A, B>(self, name: impl ToName) -> Result<Connection<A, B, C>>
    where
        C: Codec<A> + Codec<B>,
    {
        self.open_as(&name.to_name()?)
    }

    /// Opens an end of a pipe, or makes it. See [`Pipe::open_or_create`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Pipe};
    ///
    /// let name = Name::new(&format!("pipe-either-built-{}", std::process::id()))?;
    /// let mut one = Pipe::builder().plain().open_or_create::<[f64; 3]>(&name)?;
    /// // In another program, which may as well be the first:
    /// let mut other = Pipe::builder().plain().open_or_create::<[f64; 3]>(&name)?;
    /// other.send([1.0, 2.0, 3.0])?;
    /// assert_eq!(one.recv()?, [1.0, 2.0, 3.0]);
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Pipe::open_or_create`].
    pub fn open_or_create<T>(self, name: impl ToName) -> Result<Connection<T, T, C>>
    where
        C: Codec<T>,
    {
        let name = name.to_name()?;
        let open = || match self.open_as(&name) {
            // Used up: somebody had it, and nobody has it.
            Err(error) if error.kind() == ErrorKind::Exists => {
                segment::make_way(&name).map_err(|_| error)?;
                Err(Error::new(ErrorKind::NotFound, "a pipe that was used up"))
            }
            opened => opened,
        };
        segment::open_or_make(&name, open, || self.create_as(&name))
    }

    fn create_as<A, B>(&self, name: &Name) -> Result<Connection<A, B, C>>
    where
        C: Codec<A> + Codec<B>,
    {
        let (there, here) = (self.geometry::<A>()?, self.geometry::<B>()?);
        let to_guest = prepare(there, Some((Role::Reader, GUEST)));
        let from_guest = prepare(here, Some((Role::Writer, GUEST)));
        let there = lane_spec::<A>(there, &to_guest)?;
        let here = lane_spec::<B>(here, &from_guest)?;
        let label = label::<A, B, C>(name);
        let plan = Plan { label: &label, specs: &[&there, &here], has_guest: true };
        let [there, here] = segment::publish(name, &plan, |_| Ok(()))?
            .try_into()
            .map_err(|_| Error::new(ErrorKind::Corrupt, "a pipe without two directions"))?;
        self.connection(there, here)
    }

    fn open_as<A, B>(&self, name: &Name) -> Result<Connection<A, B, C>>
    where
        C: Codec<A> + Codec<B>,
    {
        // As the maker sees it.
        let [here, there] = segment::open_as_guest(name, &label::<B, A, C>(name))?;
        self.connection(there, here)
    }

    /// The end of this process: it sends in the lane of the first, and receives in the second's.
    fn connection<A, B>(&self, there: Shared, here: Shared) -> Result<Connection<A, B, C>>
    where
        C: Codec<A> + Codec<B>,
    {
        let how = self.fence();
        let outlet = End::found(there, Role::Writer)?;
        let inlet = End::found(here, Role::Reader)?;
        Ok(Connection::new(
            Some(Outlet::attach(outlet, None, 0, how)?),
            Some(Inlet::attach(inlet, None, how)?),
        ))
    }
}

fn label<A, B, C>(name: &Name) -> String
where
    C: Codec<A> + Codec<B>,
{
    let what = format!("Pipe{}{}", layout::<A, C>(), layout::<B, C>());
    let identity = || {
        let (there, here) = (<C as Codec<A>>::identity(), <C as Codec<B>>::identity());
        format!("{there} from its maker and {here} to him")
    };
    name.label(&what, identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the name had gone just when its guest was in: he closes what he did not take.
    #[test]
    fn a_guest_who_goes_at_once_leaves_nobody_waiting() {
        let name = Name::new(&format!("test-guest-{}", std::process::id())).unwrap();
        name.unlink().unwrap();
        let mut here = Pipe::create::<u64, u64>(&name).unwrap();
        let label = label::<u64, u64, Serde>(&name);
        drop(segment::open_as_guest(&name, &label).unwrap());
        name.unlink().unwrap();
        let patience = std::time::Duration::from_secs(20);
        assert!(here.recv_timeout(patience).unwrap_err().is_disconnected());
        assert!(here.send(1).unwrap_err().is_disconnected());
    }
}
