//! Ranges of settings: which values they hold, and the words for them.

use std::ops::RangeInclusive;

/// The values that a setting of type `T` may have.
pub trait Range<T: ?Sized> {
    /// Whether `value` is one of them.
    fn holds(&self, value: &T) -> bool;

    /// Words for all of them, e.g. "a number in 0..=1".
    fn in_words(&self) -> String;
}

/// Numbers above a bound; finite ones.
#[derive(Clone, Copy, Debug)]
pub struct Above<T>(pub T);

/// Numbers from a bound on; finite ones.
#[derive(Clone, Copy, Debug)]
pub struct AtLeast<T>(pub T);

/// Numbers above the first bound, up to the second.
#[derive(Clone, Copy, Debug)]
pub struct AboveUpTo<T>(pub T, pub T);

/// Numbers from the first bound on, below the second.
#[derive(Clone, Copy, Debug)]
pub struct FromBelow<T>(pub T, pub T);

/// Any number but infinities and NaN.
#[derive(Clone, Copy, Debug)]
pub struct Finite;

/// Lists of elements that are each in a range.
#[derive(Clone, Copy, Debug)]
pub struct Each<R>(pub R);

/// No value, or one in a range.
#[derive(Clone, Copy, Debug)]
pub struct IfGiven<R>(pub R);

macro_rules! ranges {
    ($noun:literal: $($number:ty),*) => {$(
        impl Range<$number> for RangeInclusive<$number> {
            fn holds(&self, value: &$number) -> bool {
                self.contains(value)
            }
            fn in_words(&self) -> String {
                format!("{} in {}..={}", $noun, self.start(), self.end())
            }
        }
        impl Range<$number> for AtLeast<$number> {
            fn holds(&self, value: &$number) -> bool {
                (self.0..=<$number>::MAX).contains(value)
            }
            fn in_words(&self) -> String {
                format!("{}, {} or above", $noun, self.0)
            }
        }
        impl Range<$number> for Above<$number> {
            fn holds(&self, value: &$number) -> bool {
                *value > self.0 && *value <= <$number>::MAX
            }
            fn in_words(&self) -> String {
                format!("{} above {}", $noun, self.0)
            }
        }
        impl Range<$number> for AboveUpTo<$number> {
            fn holds(&self, value: &$number) -> bool {
                *value > self.0 && *value <= self.1
            }
            fn in_words(&self) -> String {
                format!("{} above {} and at most {}", $noun, self.0, self.1)
            }
        }
        impl Range<$number> for FromBelow<$number> {
            fn holds(&self, value: &$number) -> bool {
                (self.0..self.1).contains(value)
            }
            fn in_words(&self) -> String {
                format!("{}, {} or above and below {}", $noun, self.0, self.1)
            }
        }
    )*};
}
ranges!("a number": f32, f64);
ranges!("a whole number": u8, u32, u64, usize, i64);

impl Range<f64> for Finite {
    fn holds(&self, value: &f64) -> bool {
        value.is_finite()
    }

    fn in_words(&self) -> String {
        "a finite number".to_owned()
    }
}

impl<T, R: Range<T>> Range<Vec<T>> for Each<R> {
    fn holds(&self, values: &Vec<T>) -> bool {
        values.iter().all(|value| self.0.holds(value))
    }

    fn in_words(&self) -> String {
        format!("a list, each {}", self.0.in_words())
    }
}

impl<T, R: Range<T>> Range<Option<T>> for IfGiven<R> {
    fn holds(&self, value: &Option<T>) -> bool {
        value.as_ref().is_none_or(|value| self.0.holds(value))
    }

    fn in_words(&self) -> String {
        self.0.in_words()
    }
}
