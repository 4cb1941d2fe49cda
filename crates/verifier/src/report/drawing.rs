//! Memory and access, drawn to scale as far as the numbers leave room.

use crate::history::{Base, Focus};
use crate::input::Input;
use crate::rejection::{Rejection, Rule};

/// Memory that is drawn: what it is, and from where to where it goes.
struct Region {
    name: &'static str,
    start: i64,
    end: i64,
}

/// A drawing of the access that failed, if that is about bounds.
pub(crate) fn draw(rejection: &Rejection, input: &Input<'_>) -> Option<String> {
    let bounds = [Rule::PacketBounds, Rule::MemoryBounds, Rule::Stack];
    let focus = rejection.focus.as_ref().filter(|_| bounds.contains(&rejection.rule))?;
    let region = region(focus, input)?;
    let (start, end) = accessed(focus)?;
    let inside = region.start <= start && end <= region.end;
    (!inside).then(|| lines(&region, start, end, focus.value.constant().is_none()))
}

/// How many bytes the memory has that a value points to.
pub(crate) fn size_of(base: Base, input: &Input<'_>) -> Option<u32> {
    match base {
        Base::MapValue { map, inner } => {
            let facts = input.maps.get(usize::from(map))?;
            let facts = if inner { facts.inner.as_deref()? } else { facts };
            Some(facts.value_size)
        }
        Base::Memory { size, .. } => Some(size),
        _ => None,
    }
}

fn region(focus: &Focus, input: &Input<'_>) -> Option<Region> {
    match focus.value.base {
        Base::Packet { proved } | Base::PacketMeta { proved } => {
            Some(Region { name: "proved", start: 0, end: i64::from(proved) })
        }
        Base::Stack { .. } => Some(Region { name: "frame", start: -512, end: 0 }),
        Base::MapValue { .. } => {
            let size = size_of(focus.value.base, input)?;
            Some(Region { name: "value", start: 0, end: i64::from(size) })
        }
        Base::Memory { size, .. } => {
            Some(Region { name: "memory", start: 0, end: i64::from(size) })
        }
        _ => None,
    }
}

/// From which to before which byte of the memory the access may reach. Of a packet the variable
/// part is left out: what is proved counts from there.
pub(crate) fn accessed(focus: &Focus) -> Option<(i64, i64)> {
    const LIMIT: i64 = 1 << 29;
    let fixed = focus.value.offset.checked_add(focus.offset)?;
    let size = focus.size?;
    let (min, max) = match focus.value.base.is_packet() {
        true => (0, 0),
        false => (focus.value.smin, focus.value.smax),
    };
    let bounded = -LIMIT < min && max < LIMIT;
    if !bounded {
        return None;
    }
    Some((fixed.checked_add(min)?, fixed.checked_add(max)?.checked_add(size)?))
}

fn lines(region: &Region, start: i64, end: i64, variable: bool) -> String {
    const WIDTH: i64 = 46;
    let mut marks = vec![region.start, region.end, start, end];
    marks.sort_unstable();
    marks.dedup();
    let (first, last) = (marks.first().copied().unwrap_or(0), marks.last().copied().unwrap_or(0));
    let span = last.saturating_sub(first).max(1);
    // Each mark where its number says, but behind the number before it.
    let mut columns: Vec<(i64, usize)> = Vec::new();
    let mut free = 0;
    for mark in marks {
        let scaled = i128::from(mark - first) * i128::from(WIDTH) / i128::from(span);
        let column = usize::try_from(scaled).unwrap_or(0).max(free);
        free = column + mark.to_string().len() + 1;
        columns.push((mark, column));
    }
    let column =
        |mark: i64| columns.iter().find(|entry| entry.0 == mark).map_or(0, |entry| entry.1);
    let mut numbers = String::new();
    for (mark, column) in &columns {
        numbers.push_str(&" ".repeat(column.saturating_sub(numbers.len())));
        numbers.push_str(&mark.to_string());
    }
    let bar = |from: i64, to: i64, fill: &str| {
        let (from, to) = (column(from), column(to));
        let inner = fill.repeat(to.saturating_sub(from + 1));
        format!("{}|{inner}|", " ".repeat(from))
    };
    let verb = if variable { "may reach" } else { "accessed" };
    let memory = if region.start == region.end {
        "nothing".to_owned()
    } else {
        bar(region.start, region.end, "=")
    };
    format!(
        "{:<10} {numbers}\n{:<10} {memory}\n{verb:<10} {}",
        "byte",
        region.name,
        bar(start, end, "#")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_overlap() {
        let region = Region { name: "value", start: 0, end: 256 };
        let expected = "\
byte       0                                           256 264
value      |===========================================|
accessed                                               |###|";
        assert_eq!(lines(&region, 256, 264, false), expected);
        let region = Region { name: "proved", start: 0, end: 0 };
        let expected = "\
byte       0                                   11        14
proved     nothing
accessed                                       |#########|";
        assert_eq!(lines(&region, 11, 14, false), expected);
    }
}
