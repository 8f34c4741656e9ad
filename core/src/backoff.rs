//! Pauses that grow and are spread by chance, the chance being a seed.

use std::time::Duration;

/// A small deterministic generator (splitmix64): the same seed gives the same pauses. Nothing here is secret, so
/// that it need not be hard to guess.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Somewhere from half of `pause` to the whole of it, so that those who failed together do not return
    /// together.
    pub(crate) fn spread(&mut self, pause: Duration) -> Duration {
        let half = pause / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.next() % nanos.max(1))
    }
}

/// `first`, doubled for each earlier failure, at most `longest`.
pub(crate) fn doubled(first: Duration, failures: u32, longest: Duration) -> Duration {
    2u32.checked_pow(failures)
        .and_then(|factor| first.checked_mul(factor))
        .map_or(longest, |it| it.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let pause =
            |failures| doubled(Duration::from_millis(100), failures, Duration::from_secs(2)).as_millis();
        assert_eq!(
            [0, 1, 2, 4, 5, 31, 32, u32::MAX].map(pause),
            [100, 200, 400, 1600, 2000, 2000, 2000, 2000]
        );
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers from the seed 0, as the reference implementation gives them.
        let mut jitter = Jitter::new(0);
        assert_eq!([jitter.next(), jitter.next()], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }

    #[test]
    fn a_seed_gives_the_same_pauses_again() {
        let pauses = |seed| {
            let mut jitter = Jitter::new(seed);
            [0; 100].map(|_| jitter.spread(Duration::from_millis(100)))
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
        let (least, most) = (pauses(1).into_iter().min().unwrap(), pauses(1).into_iter().max().unwrap());
        assert!(
            least >= Duration::from_millis(50) && most < Duration::from_millis(100),
            "{least:?} {most:?}"
        );
        assert!(most - least > Duration::from_millis(40), "{least:?} {most:?}");
        assert_eq!(Jitter::new(1).spread(Duration::ZERO), Duration::ZERO);
    }
}
