//! What a type is to serde, in words: `Job { id: u64, words: [string] }`.
//!
//! A [`Deserialize`] asks its format for what it is made of, so a format that only listens and
//! answers with ones and empty texts hears the whole shape, down to the names of fields. Two
//! programs that hear the same can read one another's messages, whatever their types are called,
//! and where they cannot, both shapes say why.
//!
//! What is not heard: of an enum, what is in its variants but for the first; what is behind a type
//! that does not take a one, such as an identifier with a check. Both ends stop there alike.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::cargo::Unpacking;

/// A shape ends after so many bytes, as that of a type which contains itself would not.
const LENGTH_MAX: usize = 1000;

/// Nothing is so deep but what contains itself.
const DEPTH_MAX: usize = 32;

/// The shape of a type.
pub(crate) fn shape<'de, T: Deserialize<'de>>() -> String {
    // The one that a handle is given is not the number of one in a parcel that is being unpacked.
    let _hidden = Unpacking::hide();
    let mut text = String::new();
    let listener = Listener { text: &mut text, depth: 0 };
    // What was heard before somebody did not like a one is the shape all the same.
    if T::deserialize(listener).is_err() {
        text.push_str(" ...");
    }
    text
}

/// A format that has no values.
struct Listener<'a> {
    text: &'a mut String,
    depth: usize,
}

/// Why listening ended early.
#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type did not take what it was given")
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Listener<'_> {
    fn say(&mut self, words: &str) -> Result<(), Stop> {
        self.text.push_str(words);
        if self.text.len() > LENGTH_MAX || self.depth > DEPTH_MAX { Err(Stop) } else { Ok(()) }
    }

    /// One that listens to a part.
    fn deeper(&mut self) -> Listener<'_> {
        Listener { text: self.text, depth: self.depth + 1 }
    }

    /// Listens to what is between two words.
    fn within<T>(
        mut self,
        words: [&str; 2],
        listen: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.say(words[0])?;
        let heard = listen(&mut self)?;
        self.say(words[1])?;
        Ok(heard)
    }
}

/// Types that have one value as good as any.
macro_rules! plain {
    ($($method:ident $visit:ident $name:literal $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
            self.say($name)?;
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Stop;

    plain! {
        deserialize_bool visit_bool "bool" true;
        deserialize_i8 visit_i8 "i8" 1;
        deserialize_i16 visit_i16 "i16" 1;
        deserialize_i32 visit_i32 "i32" 1;
        deserialize_i64 visit_i64 "i64" 1;
        deserialize_i128 visit_i128 "i128" 1;
        deserialize_u8 visit_u8 "u8" 1;
        deserialize_u16 visit_u16 "u16" 1;
        deserialize_u32 visit_u32 "u32" 1;
        deserialize_u64 visit_u64 "u64" 1;
        deserialize_u128 visit_u128 "u128" 1;
        deserialize_f32 visit_f32 "f32" 1.0;
        deserialize_f64 visit_f64 "f64" 1.0;
        deserialize_char visit_char "char" 'a';
        deserialize_str visit_str "string" "";
        deserialize_string visit_string "string" String::new();
        deserialize_bytes visit_bytes "bytes" &[];
        deserialize_byte_buf visit_byte_buf "bytes" Vec::new();
        deserialize_identifier visit_u32 "identifier" 0;
    }

    /// As in postcard: what asks for the format's own description gets none.
    fn deserialize_any<V: Visitor<'de>>(mut self, _: V) -> Result<V::Value, Stop> {
        self.say("anything")?;
        Err(Stop)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        self.say("()")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.say(name)?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.within(["optional(", ")"], |own| visitor.visit_some(own.deeper()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.say(name)?;
        self.within(["(", ")"], |own| visitor.visit_newtype_struct(own.deeper()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.within(["[", "]"], |own| visitor.visit_seq(Parts::of(own.deeper(), 1, &[])))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.within(["(", ")"], |own| visitor.visit_seq(Parts::of(own.deeper(), length, &[])))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.say(name)?;
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.within(["{", "}"], |own| visitor.visit_map(Parts::of(own.deeper(), 1, &[])))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.say(name)?;
        self.within([" { ", " }"], |own| {
            visitor.visit_seq(Parts::of(own.deeper(), fields.len(), fields))
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.say(name)?;
        self.within([" <", ">"], |own| {
            own.say(&variants.join(" | "))?;
            visitor.visit_enum(First(own.deeper()))
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of something, one after the other.
struct Parts<'a> {
    listener: Listener<'a>,
    left: usize,
    is_first: bool,
    names: std::slice::Iter<'static, &'static str>,
}

impl<'a> Parts<'a> {
    fn of(listener: Listener<'a>, left: usize, names: &'static [&'static str]) -> Self {
        Self { listener, left, is_first: true, names: names.iter() }
    }

    /// Says what comes before the next part. False if there is none.
    fn begin(&mut self) -> Result<bool, Stop> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        if !std::mem::take(&mut self.is_first) {
            self.listener.say(", ")?;
        }
        if let Some(name) = self.names.next() {
            self.listener.say(name)?;
            self.listener.say(": ")?;
        }
        Ok(true)
    }
}

impl<'de> de::SeqAccess<'de> for Parts<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        if self.begin()? { seed.deserialize(self.listener.deeper()).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Parts<'_> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        if self.begin()? { seed.deserialize(self.listener.deeper()).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        self.listener.say(": ")?;
        seed.deserialize(self.listener.deeper())
    }
}

/// The first variant of an enum.
struct First<'a>(Listener<'a>);

impl<'a, 'de> de::EnumAccess<'de> for First<'a> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Stop> {
        let index: de::value::U32Deserializer<Stop> = 0_u32.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for First<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, Stop> {
        self.0.say("; ")?;
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(
        mut self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.0.say("; ")?;
        self.0.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.0.say("; ")?;
        visitor.visit_seq(Parts::of(self.0, fields.len(), fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Event;
    use crate::transfer::{self, cargo};
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use std::num::NonZeroU8;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only their names are looked at")]
    struct Job {
        id: u64,
        words: Vec<String>,
        next: Option<Box<u8>>,
        place: (f32, [i8; 2]),
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "as above")]
    enum Command {
        Run { job: Job, at: Time },
        Stop,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "as above")]
    struct Time(NonZeroU8);

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "as above")]
    struct Tree {
        value: u8,
        children: Vec<Tree>,
    }

    #[test]
    fn a_shape_says_what_a_type_is_made_of() {
        assert_eq!(shape::<(u32, String)>(), "(u32, string)");
        assert_eq!(shape::<BTreeMap<char, bool>>(), "{char: bool}");
        let job = "Job { id: u64, words: [string], next: optional(u8), place: (f32, (i8, i8)) }";
        assert_eq!(shape::<Job>(), job);
        let command = format!("Command <Run | Stop; job: {job}, at: Time(u8)>");
        assert_eq!(shape::<Command>(), command);
        assert_eq!(shape::<()>(), "()");
    }

    #[test]
    fn a_type_that_contains_itself_has_an_end() {
        let tree = shape::<Tree>();
        assert!(tree.len() < 2 * LENGTH_MAX && tree.ends_with("..."), "{tree}");
        assert!(tree.starts_with("Tree { value: u8, children: [Tree { value"), "{tree}");
    }

    /// A handle took the one that it was given for the number of a block.
    #[test]
    fn a_shape_takes_no_handle_out_of_a_parcel() {
        let events = [Event::new().unwrap(), Event::new().unwrap()];
        let parcel = transfer::pack(&events).unwrap();
        let fds = parcel.fds().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        let bytes = parcel.bytes().to_vec();
        parcel.commit();
        let (_, unpacking) = Unpacking::begin(&bytes, fds).unwrap();
        assert_eq!(shape::<(u8, Event)>(), "(u8, Shared { block: u32, fingerprint: u64 } ...");
        assert!(cargo::take_block(1).is_ok());
        assert!(unpacking.end().is_none());
    }

    #[test]
    fn what_takes_no_one_ends_the_shape_alike_everywhere() {
        struct Even;
        impl<'de> Deserialize<'de> for Even {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u16::deserialize(deserializer)?;
                if number % 2 == 0 { Ok(Self) } else { Err(de::Error::custom("odd")) }
            }
        }
        assert_eq!(shape::<(u8, Even, u8)>(), "(u8, u16 ...");
        assert!(shape::<IpAddr>().starts_with("IpAddr <V4 | V6; "), "{}", shape::<IpAddr>());
    }
}
