//! Numbers as Fortran programs read and print them.

/// A real number: `1.0d-10` too.
pub(super) fn real(text: &str) -> Option<f64> {
    text.trim().replace(['d', 'D'], "e").parse().ok()
}

/// The first word as a real number. A field that is too narrow for its number is filled with stars.
pub(super) fn printed(text: &str) -> Option<f64> {
    let word = text.split_whitespace().next()?;
    if word.bytes().all(|b| b == b'*') { Some(f64::INFINITY) } else { real(word) }
}

/// The first word as a whole number.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_may_have_fortrans_exponent() {
        assert_eq!(real("1.0d-10"), Some(1e-10));
        assert_eq!((real("1.D3"), real(".5"), real("-.5E+01")), (Some(1000.0), Some(0.5), Some(-5.0)));
        assert_eq!((real(""), real("ten"), real("1.0 2.0")), (None, None, None));
    }

    #[test]
    fn a_field_of_stars_is_beyond_all_numbers() {
        assert_eq!(printed(" ******** Ry"), Some(f64::INFINITY));
        assert!(printed("NaN").is_some_and(f64::is_nan));
        assert_eq!((printed(""), whole("12 of"), whole("1.5")), (None, Some(12), None));
    }
}
