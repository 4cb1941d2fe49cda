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
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let last = sorted.len().checked_sub(1)?;
            sorted.get((last * percent + 50) / 100).copied()
        };
        Some(Spread { p10: at(10)?, median: at(50)?, p90: at(90)? })
    }
}

/// The median; not a number without samples.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    Spread::of(samples).map_or(f64::NAN, |spread| spread.median)
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
