//! Pure: the arithmetic of places in the line.

/// What the offset of `aria2.changePosition` counts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// `POS_SET`: the head of the line.
    Set,
    /// `POS_CUR`: where the download stands.
    Current,
    /// `POS_END`: the last place.
    End,
}

/// Where a download at place `from` of `len` goes. Places beyond either end mean that end.
pub fn target_place(len: usize, from: usize, offset: i64, how: How) -> usize {
    let last = len.saturating_sub(1) as i64;
    let base = match how {
        How::Set => 0,
        How::Current => from as i64,
        How::End => last,
    };
    base.saturating_add(offset).clamp(0, last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_clamped_as_aria2_does() {
        for (from, offset, how, target) in [
            (0, 9, How::Set, 2),
            (2, -5, How::Set, 0),
            (0, 1, How::Set, 1),
            (0, 0, How::End, 2),
            (0, -1, How::End, 1),
            (0, 1, How::End, 2),
            (1, 1, How::Current, 2),
            (1, -9, How::Current, 0),
            (1, i64::MAX, How::Current, 2),
            (1, i64::MIN, How::End, 0),
        ] {
            assert_eq!(
                target_place(3, from, offset, how),
                target,
                "{from} {offset} {how:?}"
            );
        }
        assert_eq!(target_place(1, 0, 5, How::Set), 0);
    }
}
