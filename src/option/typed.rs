//! Pure: the types that values are read as.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::value::{Value, parse_coefficients, parse_piece_ends, parse_ranges};

/// What a [`super::Key`] of this type gives.
pub trait Typed {
    type Out;
    /// Reads a value of the row's kind; `None` when there is neither value nor default.
    fn read(value: Option<&Value>) -> Self::Out;
}

impl Typed for bool {
    type Out = bool;
    fn read(value: Option<&Value>) -> bool {
        matches!(value, Some(Value::Bool(true)))
    }
}

impl Typed for i64 {
    type Out = i64;
    fn read(value: Option<&Value>) -> i64 {
        Option::<i64>::read(value).unwrap_or_default()
    }
}

impl Typed for Option<i64> {
    type Out = Option<i64>;
    fn read(value: Option<&Value>) -> Option<i64> {
        match value {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }
}

impl Typed for f64 {
    type Out = f64;
    fn read(value: Option<&Value>) -> f64 {
        Option::<f64>::read(value).unwrap_or_default()
    }
}

impl Typed for Option<f64> {
    type Out = Option<f64>;
    fn read(value: Option<&Value>) -> Option<f64> {
        Text::read(value)?.trim().parse().ok()
    }
}

/// Marks a text option; reads as `None` when unset or empty.
pub struct Text;

impl Typed for Text {
    type Out = Option<Arc<str>>;
    fn read(value: Option<&Value>) -> Option<Arc<str>> {
        match value {
            Some(Value::Text(text)) if !text.is_empty() => Some(Arc::clone(text)),
            _ => None,
        }
    }
}

/// Marks an option of several texts, one a line or separated by commas.
pub struct List;

impl Typed for List {
    type Out = Arc<[Arc<str>]>;
    fn read(value: Option<&Value>) -> Arc<[Arc<str>]> {
        match value {
            Some(Value::Lines(lines)) => Arc::clone(lines),
            Some(Value::Text(text)) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(Arc::from)
                .collect(),
            _ => Arc::default(),
        }
    }
}

/// Marks an option of ranges of whole numbers.
pub struct Ranges;

impl Typed for Ranges {
    type Out = Vec<RangeInclusive<u32>>;
    fn read(value: Option<&Value>) -> Vec<RangeInclusive<u32>> {
        Text::read(value)
            .and_then(|text| parse_ranges(&text))
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(first, last)| {
                Some(u32::try_from(first).ok()?..=u32::try_from(last).ok()?)
            })
            .collect()
    }
}

/// Marks `optimize-concurrent-downloads`; reads as the two coefficients, or `None` when it is off.
pub struct Coefficients;

impl Typed for Coefficients {
    type Out = Option<(f64, f64)>;
    fn read(value: Option<&Value>) -> Option<(f64, f64)> {
        match Text::read(value)?.as_ref() {
            "true" => Some((5.0, 25.0)),
            "false" => None,
            pair => parse_coefficients(pair),
        }
    }
}

/// Which ends of each file come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PieceEnds {
    /// Bytes at the start of each file; 0 means not asked for.
    pub head: u64,
    /// Bytes at the end of each file; 0 means not asked for.
    pub tail: u64,
}

impl Typed for PieceEnds {
    type Out = PieceEnds;
    fn read(value: Option<&Value>) -> PieceEnds {
        Text::read(value)
            .and_then(|text| parse_piece_ends(&text).ok())
            .unwrap_or_default()
    }
}
