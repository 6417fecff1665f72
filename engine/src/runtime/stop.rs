//! Stop strings, wherever the borders of tokens fall.

/// Looks for texts that end a generation. What might become one is held back until it is decided.
#[derive(Debug, Default)]
pub(crate) struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Empty ones are left out: they would end everything at once.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), held: String::new() }
    }

    /// Adds text and moves what is certain to `out`. Answers whether a stop was met, which ends it.
    pub(crate) fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stops.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        let met = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = met {
            out.push_str(self.held.get(..at).unwrap_or_default());
            self.held.clear();
            return true;
        }
        let undecided = self.held.char_indices().map(|(at, _)| at).find(|&at| {
            let rest = self.held.get(at..).unwrap_or_default();
            self.stops.iter().any(|stop| stop.starts_with(rest))
        });
        let certain = undecided.unwrap_or(self.held.len());
        out.push_str(self.held.get(..certain).unwrap_or_default());
        self.held.drain(..certain);
        false
    }

    /// The end: what was held back is text after all.
    pub(crate) fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(stops: &[String], pieces: &[String]) -> (String, bool) {
        let mut watch = StopStrings::new(stops.to_vec());
        let mut out = String::new();
        for piece in pieces {
            if watch.push(piece, &mut out) {
                return (out, true);
            }
        }
        watch.finish(&mut out);
        (out, false)
    }

    #[test]
    fn a_stop_over_three_pieces_is_met_and_a_near_miss_is_text() {
        let pieces = |text: &[&str]| text.iter().map(|&piece| piece.to_owned()).collect::<Vec<_>>();
        assert_eq!(feed(&pieces(&["\n\nUser:"]), &pieces(&["Yes.\n", "\nUs", "er: no"])), ("Yes.".to_owned(), true));
        assert_eq!(feed(&pieces(&["</s>"]), &pieces(&["a <", "/", "b"])), ("a </b".to_owned(), false));
        assert_eq!(feed(&pieces(&["aab", ""]), &pieces(&["aa", "ab"])), ("a".to_owned(), true));
    }

    proptest! {
        #[test]
        fn borders_do_not_matter(pieces in proptest::collection::vec("[abé]{0,3}", 0..10), stops in proptest::collection::vec("[abé]{1,4}", 1..3)) {
            let whole = pieces.concat();
            let met = stops.iter().filter_map(|stop| whole.find(stop.as_str())).min();
            // Piecewise, the stop that is complete first ends it; a longer one that began earlier may still lose.
            let (out, stopped) = feed(&stops, &pieces);
            prop_assert_eq!(stopped, met.is_some());
            prop_assert!(whole.starts_with(&out));
            if let Some(at) = met {
                prop_assert!(out.len() >= at);
                prop_assert!(stops.iter().all(|stop| !out.contains(stop.as_str())));
            } else {
                prop_assert_eq!(out, whole);
            }
        }
    }
}
