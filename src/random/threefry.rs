//! Threefry-2x32, the counter-based generator behind every key, on plain words and slices.
//!
//! The block function is the 20-round Threefry-2x32 of Salmon, Moraes, Dror and Shaw, "Parallel
//! random numbers: as easy as 1, 2, 3" (SC 2011). How keys are split and how counters are laid
//! out over an array follows `jax.random` with `jax_threefry_partitionable`, its default: the
//! counter of an element is its row-major position, so that any part of an array can be drawn
//! without the rest.

/// The two words of a key.
pub type KeyData = [u32; 2];

/// The rotations of four successive rounds, alternating between two sets.
const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];

/// The constant that the third word of the key schedule is derived from (Skein's parity).
const PARITY: u32 = 0x1BD1_1BDA;

/// Encrypts the counter `(x0, x1)` under the key `(k0, k1)`: 20 rounds, a key injection after
/// every fourth.
#[inline]
#[must_use]
pub fn threefry2x32(k0: u32, k1: u32, x0: u32, x1: u32) -> (u32, u32) {
    let schedule = [k0, k1, k0 ^ k1 ^ PARITY];
    let [mut a, mut b] = [x0.wrapping_add(k0), x1.wrapping_add(k1)];
    let [even, odd] = ROTATIONS;
    let [s0, s1, s2] = schedule;
    for (rotations, inject_a, inject_b, round) in [
        (even, s1, s2, 1u32),
        (odd, s2, s0, 2),
        (even, s0, s1, 3),
        (odd, s1, s2, 4),
        (even, s2, s0, 5),
    ] {
        for rotation in rotations {
            a = a.wrapping_add(b);
            b = b.rotate_left(rotation) ^ a;
        }
        a = a.wrapping_add(inject_a);
        b = b.wrapping_add(inject_b).wrapping_add(round);
    }
    (a, b)
}

/// The key that a 64-bit seed stands for: its high word, then its low word.
#[must_use]
pub fn seed(seed: u64) -> KeyData {
    [(seed >> 32) as u32, seed as u32]
}

/// The block of the counter at row-major position `index`: its high word enters first.
#[inline]
#[must_use]
pub fn block(key: KeyData, index: u64) -> (u32, u32) {
    threefry2x32(key[0], key[1], (index >> 32) as u32, index as u32)
}

/// The `index`-th of the keys that `key` splits into. It does not depend on how many are drawn.
#[must_use]
pub fn split(key: KeyData, index: u64) -> KeyData {
    let (a, b) = block(key, index);
    [a, b]
}

/// The key that `key` and `data` determine together.
#[must_use]
pub fn fold_in(key: KeyData, data: u32) -> KeyData {
    split(key, u64::from(data))
}

/// 32 random bits for the element at row-major position `index`.
#[inline]
#[must_use]
pub fn bits32(key: KeyData, index: u64) -> u32 {
    let (a, b) = block(key, index);
    a ^ b
}

/// 64 random bits for the element at row-major position `index`.
#[inline]
#[must_use]
pub fn bits64(key: KeyData, index: u64) -> u64 {
    let (a, b) = block(key, index);
    (u64::from(a) << 32) | u64::from(b)
}

/// Fills `out`, the elements from row-major position `start` on, with 8 random bits each.
pub fn fill8(key: KeyData, start: u64, out: &mut [u8]) {
    for (index, bits) in (start..).zip(out) {
        *bits = bits32(key, index) as u8;
    }
}

/// Fills `out`, the elements from row-major position `start` on, with 16 random bits each.
pub fn fill16(key: KeyData, start: u64, out: &mut [u16]) {
    for (index, bits) in (start..).zip(out) {
        *bits = bits32(key, index) as u16;
    }
}

/// Fills `out`, the elements from row-major position `start` on, with 32 random bits each.
pub fn fill32(key: KeyData, start: u64, out: &mut [u32]) {
    for (index, bits) in (start..).zip(out) {
        *bits = bits32(key, index);
    }
}

/// Fills `out`, the elements from row-major position `start` on, with 64 random bits each.
pub fn fill64(key: KeyData, start: u64, out: &mut [u64]) {
    for (index, bits) in (start..).zip(out) {
        *bits = bits64(key, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The known answers of the Random123 distribution (`kat_vectors`, threefry2x32 20).
    #[test]
    fn the_block_function_gives_the_published_answers() {
        assert_eq!(threefry2x32(0, 0, 0, 0), (0x6b20_0159, 0x99ba_4efe));
        let ones = u32::MAX;
        assert_eq!(
            threefry2x32(ones, ones, ones, ones),
            (0x1cb9_96fc, 0xbb00_2be7)
        );
        assert_eq!(
            threefry2x32(0x1319_8a2e, 0x0370_7344, 0x243f_6a88, 0x85a3_08d3),
            (0xc492_3a9c, 0x483d_f7a0)
        );
    }

    // jax.random.key_data of key(s), split(key(0), 3) and fold_in(key(0), 7), as jax 0.10.2 has them.
    #[test]
    fn keys_are_those_of_jax() {
        assert_eq!(seed(42), [0, 42]);
        assert_eq!(seed(0x1_0000_0002), [1, 2]);
        let key = seed(0);
        assert_eq!(
            [split(key, 0), split(key, 1), split(key, 2)],
            [
                [1_797_259_609, 2_579_123_966],
                [928_981_903, 3_453_687_069],
                [4_146_024_105, 2_718_843_009]
            ]
        );
        assert_eq!(fold_in(key, 7), [2_716_826_189, 292_468_403]);
        let wide = seed((1 << 40) + 5);
        assert_eq!(fold_in(wide, u32::MAX), [2_694_380_081, 3_223_393_786]);
    }

    // jax.random.bits(key(0), (3,), …), as jax 0.10.2 has them.
    #[test]
    fn bits_of_every_width_are_those_of_jax() {
        let key = seed(0);
        let mut bytes = [0; 3];
        fill8(key, 0, &mut bytes);
        assert_eq!(bytes, [167, 146, 40]);
        let mut halves = [0; 3];
        fill16(key, 0, &mut halves);
        assert_eq!(halves, [20391, 13970, 3624]);
        let mut words = [0; 2];
        fill32(key, 1, &mut words);
        assert_eq!(words, [4_202_968_722, 1_427_181_096]);
        let mut longs = [0; 3];
        fill64(key, 0, &mut longs);
        assert_eq!(
            longs,
            [
                7_719_171_245_655_871_230,
                3_989_946_895_414_531_357,
                17_807_037_942_121_513_089
            ]
        );
    }

    #[test]
    fn the_high_word_of_a_position_counts() {
        let key = seed(3);
        assert_eq!(block(key, 1 << 32), threefry2x32(0, 3, 1, 0));
    }
}
