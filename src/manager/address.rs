//! How the way to a server is written down, for others to find it.
//!
//! Within the family of the server's processes nothing of it is secret. A process of another one
//! needs the server's secret, and has it from the server's own people, who let it in and told it
//! ([`Introduction`]). What it passes on to its own family has the secret in it, masked.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::seal;
use crate::sync::Event;
use crate::transfer::cargo;

use super::link::{Address, Family, Link};

/// What is written in the place of an address.
#[derive(Serialize, Deserialize)]
struct Ticket {
    server: u128,
    door: u32,
    litter: Event,
    /// Of the server.
    family: u64,
    secret: Secret,
}

/// What is written of the secret of the server's family.
#[derive(Serialize, Deserialize)]
enum Secret {
    /// Nothing: that family knows it.
    Untold,
    /// For the processes of another family, masked by what they know.
    Masked { family: u64, secret: u64 },
    /// As it is. Never in shared memory.
    Told(u64),
}

impl Ticket {
    fn of(address: &Address, secret: Secret) -> Result<Self> {
        let door = cargo::put_common_fd(&address.door)?;
        let family = match address.family {
            Family::Ours => seal::family()?,
            Family::Other { name, .. } => name,
        };
        Ok(Self { server: address.server, door, litter: address.litter.clone(), family, secret })
    }

    /// The way that it leads.
    fn follow(self) -> Result<Arc<Link>> {
        let Self { server, door, litter, family, secret } = self;
        Link::to(server, || {
            let ours = seal::family()?;
            let secret = match secret {
                Secret::Told(told) => told,
                _ if family == ours => seal::secret().context(no_secret)?,
                Secret::Masked { family, secret } if family == ours => secret ^ seal::mask(server)?,
                Secret::Untold | Secret::Masked { .. } => return Err(not_introduced()),
            };
            let family = family_of(family, secret)?;
            let door = cargo::copy_fd(door)?;
            Ok(Address { server, door: Arc::new(door), litter, family })
        })
    }
}

/// The family that has this name and this secret. Whoever says that it is ours has to know ours:
/// what is asked of it is sealed with that.
fn family_of(name: u64, secret: u64) -> Result<Family> {
    match secret {
        // No family has that.
        0 => Err(forged()),
        secret if name == seal::family()? => {
            let is_ours = secret == seal::secret().context(no_secret)?;
            is_ours.then_some(Family::Ours).ok_or_else(forged)
        }
        secret => Ok(Family::Other { name, secret }),
    }
}

fn no_secret() -> String {
    "make a secret to seal names with".to_owned()
}

#[cold]
fn forged() -> Error {
    let what = "whoever told of a manager told of none: the secret with it is not that of the \
                manager's processes";
    Error::new(ErrorKind::Corrupt, what)
}

#[cold]
fn not_introduced() -> Error {
    let what = "a handle of a manager, or of an object of one, came from another run of a program, \
                whose functions this process cannot name: only the same program can, and it has to \
                connect to that manager first, by ManagerClient::connect";
    Error::new(ErrorKind::Misuse, what)
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let secret = || {
            let Family::Other { secret, .. } = self.family else { return Ok(Secret::Untold) };
            let secret = secret ^ seal::mask(self.server)?;
            Ok(Secret::Masked { family: seal::family()?, secret })
        };
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        let ticket = secret().and_then(|secret| Ticket::of(self, secret));
        ticket.map_err(failed)?.serialize(serializer)
    }
}

/// The way to a server, as it is found in a parcel.
pub(super) struct Found(pub(super) Arc<Link>);

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.address().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        let way = match ticket.secret {
            // In shared memory, where this may come from, nobody tells.
            Secret::Told(_) => Err(forged()),
            _ => ticket.follow(),
        };
        way.map(Self).map_err(failed)
    }
}

/// The way to a server of this family, for one of another: with the secret. It goes over a socket,
/// to a process that has been let in.
pub(super) struct Introduction<'a>(pub(super) &'a Address);

impl Serialize for Introduction<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        let secret = seal::secret().context(no_secret).map_err(failed)?;
        let ticket = Ticket::of(self.0, Secret::Told(secret)).map_err(failed)?;
        ticket.serialize(serializer)
    }
}

/// The way to a server, as it is found in an [`Introduction`].
pub(super) struct Introduced(pub(super) Arc<Link>);

impl<'de> Deserialize<'de> for Introduced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        let way = match ticket.secret {
            Secret::Told(_) => ticket.follow(),
            // That would be believed by its name alone.
            Secret::Untold | Secret::Masked { .. } => Err(forged()),
        };
        way.map(Self).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{random, socket};

    /// The way to a server of another family, as after a connection with it.
    fn foreign(secret: u64) -> (Address, std::os::fd::OwnedFd) {
        let (door, theirs) = socket::pair().unwrap();
        let family = Family::Other { name: seal::family().unwrap() ^ 2, secret };
        let server = random::uuid().unwrap();
        let litter = Event::new().unwrap();
        (Address { server, door: Arc::new(door), litter, family }, theirs)
    }

    fn there_and_back<T: Serialize>(value: &T) -> Result<Found> {
        pass(value)
    }

    fn pass<T: Serialize, R: serde::de::DeserializeOwned>(value: &T) -> Result<R> {
        let parcel = crate::transfer::pack(value)?;
        let fds = parcel.fds().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        let bytes = parcel.bytes().to_vec();
        parcel.commit();
        crate::transfer::unpack(&bytes, fds)
    }

    #[test]
    fn the_secret_of_another_family_is_passed_on_within_ours_and_shown_to_nobody() {
        let (address, _theirs) = foreign(0x1234_5678_9abc_def1);
        let Found(link) = there_and_back(&address).unwrap();
        let Family::Other { name, secret } = link.address().family else { panic!("not ours") };
        assert_eq!((name, secret), (seal::family().unwrap() ^ 2, 0x1234_5678_9abc_def1));
        let written = |secret| {
            let (address, theirs) = foreign(secret);
            let address = Address { server: 77, ..address };
            let bytes = crate::transfer::pack(&address).unwrap().bytes().to_vec();
            drop(theirs);
            bytes
        };
        let plain = postcard::to_allocvec(&0x1234_5678_9abc_def1_u64).unwrap();
        let bytes = written(0x1234_5678_9abc_def1);
        assert!(!bytes.windows(plain.len()).any(|part| part == plain));
    }

    #[test]
    fn a_way_that_nobody_has_told_is_an_error_that_says_what_to_do() {
        /// A ticket of a server of a third family, as such a one writes it.
        struct Strange<'a>(&'a Address, bool);
        impl Serialize for Strange<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let secret = match self.1 {
                    true => Secret::Masked { family: 5, secret: 6 },
                    false => Secret::Untold,
                };
                Ticket::of(self.0, secret).unwrap().serialize(serializer)
            }
        }
        for is_masked in [false, true] {
            let (address, _theirs) = foreign(9);
            let error = there_and_back(&Strange(&address, is_masked)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Misuse);
            assert!(error.to_string().contains("ManagerClient::connect"), "{error}");
        }
    }

    /// What somebody may write who is no manager, and knows no secret of ours.
    struct Forged(fn(&Address) -> Ticket);

    impl Serialize for Forged {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let (address, _theirs) = foreign(9);
            (self.0)(&address).serialize(serializer)
        }
    }

    fn told(address: &Address, family: u64, secret: u64) -> Ticket {
        Ticket { family, ..Ticket::of(address, Secret::Told(secret)).unwrap() }
    }

    fn is_forged<T>(way: Result<T>) {
        let error = way.err().expect("a forged way");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }

    #[test]
    fn a_server_that_does_not_know_our_secret_is_never_taken_for_our_own() {
        let forged = [
            Forged(|address| told(address, 5, 0)),
            Forged(|address| told(address, seal::family().unwrap(), 0)),
            Forged(|address| told(address, seal::family().unwrap(), 77)),
            Forged(|address| Ticket {
                family: seal::family().unwrap(),
                ..Ticket::of(address, Secret::Untold).unwrap()
            }),
            Forged(|address| Ticket {
                family: seal::family().unwrap(),
                ..Ticket::of(address, Secret::Masked { family: 5, secret: 6 }).unwrap()
            }),
        ];
        forged.iter().for_each(|ticket| is_forged(pass::<_, Introduced>(ticket).map(|_| ())));
        // Those who were told the truth get in.
        let honest = |address: &Address| told(address, 5, 77);
        let Introduced(link) = pass(&Forged(honest)).unwrap();
        assert!(matches!(link.address().family, Family::Other { name: 5, secret: 77 }));
        let own =
            |address: &Address| told(address, seal::family().unwrap(), seal::secret().unwrap());
        let Introduced(link) = pass(&Forged(own)).unwrap();
        assert!(matches!(link.address().family, Family::Ours));
    }

    #[test]
    fn a_secret_is_told_at_a_door_alone_and_is_never_nothing() {
        is_forged(there_and_back(&Forged(|address| told(address, 5, 77))).map(|_| ()));
        let nothing = |address: &Address| {
            let secret = seal::mask(address.server).unwrap();
            let masked = Secret::Masked { family: seal::family().unwrap(), secret };
            Ticket { family: 5, ..Ticket::of(address, masked).unwrap() }
        };
        is_forged(there_and_back(&Forged(nothing)).map(|_| ()));
    }
}
