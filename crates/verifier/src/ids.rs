//! The bijection between the ids of two states that are compared.

/// Pairs of ids, an old and a current one.
#[derive(Default)]
pub(crate) struct IdMap {
    pairs: Vec<(u32, u32)>,
    next_temporary: u32,
}

impl IdMap {
    /// Begins a comparison; `unused` is an id above all that are in use.
    pub(crate) fn reset(&mut self, unused: u32) {
        self.pairs.clear();
        self.next_temporary = unused;
    }

    /// Whether two ids correspond. An id that was not seen before corresponds to whatever it is
    /// paired with first.
    pub(crate) fn same(&mut self, old: u32, current: u32) -> bool {
        if (old != 0) != (current != 0) {
            return false;
        }
        if old == 0 {
            return true;
        }
        for &(a, b) in &self.pairs {
            if a == old {
                return b == current;
            }
            if b == current {
                return false;
            }
        }
        self.pairs.push((old, current));
        true
    }

    /// The same for ids of numbers: an old number without id depends on no other, and current
    /// numbers without id are each one of its own.
    pub(crate) fn same_scalar(&mut self, old: u32, current: u32) -> bool {
        use super::state::value::{ADD_CONST, COPY_OF};
        if old == 0 {
            return true;
        }
        let current = if current == 0 {
            self.next_temporary += 1;
            self.next_temporary
        } else {
            current
        };
        self.same(old, current)
            && (old & ADD_CONST == 0 || self.same(old & COPY_OF, current & COPY_OF))
    }
}

#[cfg(test)]
mod tests {
    use super::IdMap;
    use crate::state::value::ADD_CONST;

    #[test]
    fn ids_correspond_one_to_one() {
        let mut ids = IdMap::default();
        assert!(ids.same(1, 7));
        assert!(ids.same(1, 7));
        assert!(!ids.same(1, 8), "an old id has one counterpart");
        assert!(!ids.same(2, 7), "and a current id too");
        assert!(ids.same(0, 0));
        assert!(!ids.same(0, 3) && !ids.same(3, 0));
    }

    #[test]
    fn numbers_without_id_are_each_one_of_its_own() {
        let mut ids = IdMap::default();
        ids.reset(100);
        // Two linked numbers are not covered by two that are not.
        assert!(ids.same_scalar(1, 0));
        assert!(!ids.same_scalar(1, 0));
        // A number that depended on nothing is covered by any.
        assert!(ids.same_scalar(0, 5));
    }

    #[test]
    fn sums_correspond_with_what_they_are_sums_of() {
        let mut ids = IdMap::default();
        ids.reset(100);
        assert!(ids.same_scalar(1, 7));
        assert!(ids.same_scalar(1 | ADD_CONST, 7 | ADD_CONST));
        let mut ids = IdMap::default();
        ids.reset(100);
        assert!(ids.same_scalar(1, 7));
        assert!(!ids.same_scalar(1 | ADD_CONST, 8 | ADD_CONST));
    }
}
