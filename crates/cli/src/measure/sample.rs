//! What is made of samples: medians, spreads, ratios, means.

/// The middle of samples and how far they lie apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// A tenth of the samples is below this.
    pub p10: f64,
    /// The median.
    pub median: f64,
    /// A tenth of the samples is above this.
    pub p90: f64,
}

impl Spread {
    /// The spread of samples; nothing without any.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Spread> {
        let sorted = sorted(samples);
        let at = |percent| at(&sorted, percent);
        Some(Spread { p10: at(10)?, median: at(50)?, p90: at(90)? })
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn at(sorted: &[f64], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent + 50) / 100).copied()
}

/// The sample that so many percent of the samples are not above; not a number without samples.
#[must_use]
pub fn percentile(samples: &[f64], percent: usize) -> f64 {
    at(&sorted(samples), percent).unwrap_or(f64::NAN)
}

/// The median; not a number without samples.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    percentile(samples, 50)
}

/// The median of the ratios of samples that were taken in the same round.
#[must_use]
pub fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    median(&ratios)
}

/// The geometric mean; not a number without samples.
#[must_use]
pub fn geometric_mean(values: &[f64]) -> f64 {
    let logarithms: f64 = values.iter().map(|value| value.ln()).sum();
    (logarithms / values.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_order_statistics() {
        let samples: Vec<f64> = (0..=20).rev().map(f64::from).collect();
        assert_eq!(Spread::of(&samples), Some(Spread { p10: 2.0, median: 10.0, p90: 18.0 }));
        assert_eq!(Spread::of(&[]), None);
        assert!(median(&[]).is_nan());
        assert_eq!(
            [0, 5, 99, 100].map(|percent| percentile(&samples, percent)),
            [0.0, 1.0, 20.0, 20.0]
        );
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The second round was disturbed; both engines suffered.
        assert_eq!(ratio(&[4.0, 40.0, 4.0], &[2.0, 20.0, 2.0]), 2.0);
    }

    #[test]
    fn means_are_geometric() {
        assert!((geometric_mean(&[2.0, 8.0]) - 4.0).abs() < 1e-12);
        assert!(geometric_mean(&[]).is_nan());
    }
}
