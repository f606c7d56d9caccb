//! Interleaved measurements: all contenders take turns in one run, so that what disturbs the
//! machine disturbs all of them alike.

use std::time::{Duration, Instant};

/// One of those that are compared.
pub(crate) struct Contender<'a> {
    turn: Box<dyn FnMut(usize) -> Duration + 'a>,
}

impl<'a> Contender<'a> {
    /// `turn` gets the round's number and is measured as a whole.
    pub(crate) fn new(mut turn: impl FnMut(usize) + 'a) -> Self {
        Self::timed(move |round| {
            let start = Instant::now();
            turn(round);
            start.elapsed()
        })
    }

    /// `turn` says how long that took which counts.
    pub(crate) fn timed(turn: impl FnMut(usize) -> Duration + 'a) -> Self {
        Self {
            turn: Box::new(turn),
        }
    }
}

/// What one contender took, in microseconds, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

/// Rounds before anything counts: prepared statements, plans, caches.
const WARM_UP: usize = 50;

/// So many stretches of a run are compared to say how far its result can be trusted.
const STRETCHES: usize = 10;

/// A race that has gone on for so long is over, once it has run so many rounds: a slow disk must not
/// keep it for an hour.
const LONGEST: Duration = Duration::from_secs(30);
const FEWEST: usize = 100;

/// Lets the contenders take turns; who is first changes from round to round.
pub(crate) fn race(rounds: usize, contenders: Vec<Contender<'_>>) -> Vec<Samples> {
    race_after(WARM_UP.min(rounds), rounds, contenders)
}

/// As [`race`], with so many rounds of warm-up.
pub(crate) fn race_after(
    warm_up: usize,
    rounds: usize,
    mut contenders: Vec<Contender<'_>>,
) -> Vec<Samples> {
    let mut samples = vec![Samples::default(); contenders.len()];
    let start = Instant::now();
    for round in 0..warm_up + rounds {
        if round >= warm_up + FEWEST && start.elapsed() > LONGEST {
            break;
        }
        for place in 0..contenders.len() {
            let turn = (place + round) % contenders.len();
            let took = (contenders[turn].turn)(round);
            if round >= warm_up {
                samples[turn].0.push(took.as_secs_f64() * 1e6);
            }
        }
    }
    samples
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(
            times
                .into_iter()
                .map(|time| time.as_secs_f64() * 1e6)
                .collect(),
        )
    }
}

impl Samples {
    pub(crate) fn p50(&self) -> f64 {
        quantile(&self.0, 0.50)
    }

    pub(crate) fn p99(&self) -> f64 {
        quantile(&self.0, 0.99)
    }

    pub(crate) fn p999(&self) -> f64 {
        quantile(&self.0, 0.999)
    }

    fn stretch(&self, number: usize) -> f64 {
        let length = self.0.len().div_ceil(STRETCHES);
        let stretch = self.0.chunks(length.max(1)).nth(number);
        stretch.map_or(f64::NAN, |part| quantile(part, 0.50))
    }
}

/// How two contenders compare.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    /// Of the medians.
    pub(crate) p50: f64,
    /// Of the 99th percentiles.
    pub(crate) p99: f64,
    /// The lowest and the highest ratio of medians among the run's stretches, without the most
    /// extreme one on either side.
    pub(crate) spread: (f64, f64),
}

/// This one's time as a multiple of the baseline's.
pub(crate) fn ratio(ours: &Samples, baseline: &Samples) -> Ratio {
    let mut stretches: Vec<f64> = (0..STRETCHES)
        .map(|number| ours.stretch(number) / baseline.stretch(number))
        .filter(|ratio| ratio.is_finite())
        .collect();
    stretches.sort_by(f64::total_cmp);
    let trimmed = match stretches.as_slice() {
        [_, inner @ .., _] if inner.len() > 2 => inner,
        all => all,
    };
    Ratio {
        p50: ours.p50() / baseline.p50(),
        p99: ours.p99() / baseline.p99(),
        spread: (
            trimmed.first().copied().unwrap_or(f64::NAN),
            trimmed.last().copied().unwrap_or(f64::NAN),
        ),
    }
}

fn quantile(samples: &[f64], at: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len() as f64 - 1.0).max(0.0) * at).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
