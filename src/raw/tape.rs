//! The bytes of a script, for tests and fuzzers that play one.

/// Words that mean something in one place or another.
const WORDS: [u64; 16] = [
    0,
    1,
    2,
    3,
    16,
    128,
    u32::MAX as u64,
    u64::MAX,
    1 << 31,
    1 << 40,
    1 << 63,
    // A live block, a claimed one and a free one, of a few granules.
    (6 << 16) | 2,
    (6 << 16) | 1,
    (6 << 16) | 3,
    (0xff_ffff << 16) | 2,
    // A participant, reaped by number 1.
    (2 << 8) | 2,
];

/// The numbers of a script, one after the other; zeros when there are no more.
#[derive(Debug)]
pub(crate) struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    pub(crate) fn new(script: &'a [u8]) -> Self {
        Self(script)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    pub(crate) fn word(&mut self) -> u64 {
        let byte = self.byte();
        if let Some(word) = WORDS.get(usize::from(byte)) {
            return *word;
        }
        match byte % 3 {
            0 => self.number() as u64,
            1 => !(self.number() as u64),
            _ => (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte())),
        }
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Changes bytes as the rest of the script says: how, where, which.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        while !self.is_over() {
            let (how, at, byte) = (self.byte(), self.number(), self.byte());
            let at = at % bytes.len().max(1);
            match how % 5 {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 if !bytes.is_empty() => bytes[at] ^= 1 << (byte % 8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
    }
}
