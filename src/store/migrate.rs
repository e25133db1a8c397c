//! Pure: brings records of earlier versions up to date, one version after the other.

use serde_json::Value;

use super::record::VERSION;

/// One step: from its version to the next.
type Upgrade = fn(Value) -> Result<Value, String>;

/// The step at index `n` leads from version `n + 1` to version `n + 2`.
const STEPS: &[Upgrade] = &[];

/// A record of version `from` as one of [`VERSION`].
///
/// # Errors
/// The version is not known, or the record is not of that version.
pub fn upgrade(from: u32, record: Value) -> Result<Value, String> {
    run(STEPS, VERSION, from, record)
}

fn run(steps: &[Upgrade], to: u32, from: u32, mut record: Value) -> Result<Value, String> {
    if !(1..=to).contains(&from) {
        return Err(format!("a record of version {from} cannot be read"));
    }
    for version in from..to {
        let step = steps
            .get(version as usize - 1)
            .ok_or_else(|| format!("no way from version {version}"))?;
        record = step(record)?;
        record["v"] = Value::from(version + 1);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_is_a_step_for_each_earlier_version() {
        assert_eq!(STEPS.len() as u32, VERSION - 1);
    }

    #[test]
    fn steps_run_in_order_from_the_records_version() {
        let steps: &[Upgrade] = &[
            |mut record| {
                record["a"] = json!(1);
                Ok(record)
            },
            |mut record| {
                record["b"] = json!(record["a"].as_u64().unwrap_or(0) + 1);
                Ok(record)
            },
        ];
        assert_eq!(
            run(steps, 3, 1, json!({"v": 1})),
            Ok(json!({"v": 3, "a": 1, "b": 2}))
        );
        assert_eq!(
            run(steps, 3, 2, json!({"v": 2, "a": 7})),
            Ok(json!({"v": 3, "a": 7, "b": 8}))
        );
        assert!(run(steps, 3, 4, json!({})).is_err() && run(steps, 3, 0, json!({})).is_err());
    }
}
