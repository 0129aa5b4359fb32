//! How to use this crate, chapter by chapter. There is no code in here: each program of the guide
//! is compiled and run by `cargo test --doc guide`.
//!
//! | chapter | for whom |
//! |---|---|
//! | [choosing] | whoever begins: which object for what, with a small program each |
//! | [messages] | whoever sends: types, bytes, codecs, handles, long messages |
//! | [death] | whoever must go on when somebody dies: what is heard, and what to do |
//! | [testing] | whoever tests code that starts processes |
//! | [debugging] | whoever has a program that is stuck, or that does not compile |
//! | [limits] | whoever must know how far it goes |
//! | [security] | whoever must know who is trusted with what |
//! | [from_python] | whoever knows Python's `multiprocessing`: the same programs side by side |
//! | [from_threads] | whoever knows `std::thread` and its kin |
//! | [api] | whoever looks for a name: all of them, with Python's beside |

// Where a file of the repository can be read beside the documentation.
macro_rules! source {
    ($file:literal) => {
        concat!("[", $file, "]: https://docs.rs/crate/multiproc/latest/source/", $file, "\n")
    };
}

// In the text of a chapter, `[death]` leads to the chapter of that name. On a repository's site it
// does so by a definition at the end of each file; here the first definition wins.
macro_rules! chapter {
    ($file:literal) => {
        concat!(
            "[choosing]: crate::guide::choosing\n",
            "[messages]: crate::guide::messages\n",
            "[death]: crate::guide::death\n",
            "[testing]: crate::guide::testing\n",
            "[debugging]: crate::guide::debugging\n",
            "[limits]: crate::guide::limits\n",
            "[security]: crate::guide::security\n",
            "[from_python]: crate::guide::from_python\n",
            "[from_threads]: crate::guide::from_threads\n",
            "[api]: crate::guide::api\n",
            "[`Framed`]: crate::Framed\n",
            "[`inspect`]: crate::inspect\n",
            "[`History`]: crate::inspect::History\n",
            source!("tests/pool_terminal.rs"),
            source!("examples/thumbnails.rs"),
            source!("examples/service.rs"),
            "\n",
            include_str!($file)
        )
    };
}

#[doc = chapter!("choosing.md")]
pub mod choosing {}

#[doc = chapter!("messages.md")]
pub mod messages {}

#[doc = chapter!("death.md")]
pub mod death {}

#[doc = chapter!("testing.md")]
pub mod testing {}

#[doc = chapter!("debugging.md")]
pub mod debugging {}

#[doc = chapter!("limits.md")]
pub mod limits {}

#[doc = chapter!("security.md")]
pub mod security {}

#[doc = chapter!("from_python.md")]
pub mod from_python {}

#[doc = chapter!("from_threads.md")]
pub mod from_threads {}

#[doc = chapter!("api.md")]
pub mod api {}
