//! Proofs that somebody knows a secret: HMAC-SHA256 (RFC 2104).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What proves it.
pub(crate) type Proof = [u8; 32];

/// Proves that whoever made this knows `key`, of these parts: no other parts have the same proof,
/// also not such as are the same bytes divided otherwise.
pub(crate) fn prove(key: &[u8], parts: &[&[u8]]) -> Proof {
    hashed(key, parts).finalize().into_bytes().into()
}

/// Whether `proof` is the one of these parts. Takes as long for every one that is not.
pub(crate) fn is_proof(proof: &Proof, key: &[u8], parts: &[&[u8]]) -> bool {
    hashed(key, parts).verify_slice(proof).is_ok()
}

fn hashed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_its_key_and_of_its_parts_as_they_were_divided() {
        let proof = prove(b"key", &[b"ab", b"c"]);
        assert!(is_proof(&proof, b"key", &[b"ab", b"c"]));
        assert!(!is_proof(&proof, b"kez", &[b"ab", b"c"]));
        assert!(!is_proof(&proof, b"key", &[b"a", b"bc"]));
        for bit in 0..8 * proof.len() {
            let mut other = proof;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_proof(&other, b"key", &[b"ab", b"c"]));
        }
    }

    #[test]
    fn a_proof_is_what_others_compute() {
        // Python: hmac.new(b"key", (2).to_bytes(8, "little") + b"ab", "sha256").hexdigest()
        let proof = prove(b"key", &[b"ab"]);
        let text: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "3c8525153e9778c5277c1afbeeabe6a12a065916b8a476bff3e64a169bd700a9");
    }
}
