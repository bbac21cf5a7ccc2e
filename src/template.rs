//! Templates: text with placeholders and optional sections.
//!
//! `@NAME@`, of capitals, digits and underscores, is a placeholder. The lines between a line `@[NAME]` and a line `@[/NAME]` are a
//! section. nginx, SSI, CSS, JavaScript, JSON and shell files have no such text of their own.

mod escape;

pub(crate) use escape::{Escaped, percent_encoded};

/// A template with its values and the sections that are shown. In a debug build, [`Template::fill`] panics if the names in the template
/// and those given here differ.
pub(crate) struct Template<'a> {
    pub(crate) text: &'a str,
    pub(crate) values: &'a [(&'a str, Escaped)],
    pub(crate) sections: &'a [(&'a str, bool)],
}

impl Template<'_> {
    pub(crate) fn fill(&self) -> String {
        debug_assert_eq!(self.mistakes(), Vec::<String>::new());
        let mut filled = String::with_capacity(self.text.len() * 2);
        let mut hidden: Option<&str> = None;
        for line in self.text.split_inclusive('\n') {
            match section_mark(line) {
                Some((name, Mark::Begin)) if hidden.is_none() && !self.shows(name) => {
                    hidden = Some(name);
                }
                Some((name, Mark::End)) if hidden == Some(name) => hidden = None,
                None if hidden.is_none() => self.fill_line(line, &mut filled),
                _ => {}
            }
        }
        filled
    }

    fn shows(&self, section: &str) -> bool {
        self.sections
            .iter()
            .any(|&(name, shown)| name == section && shown)
    }

    fn value(&self, name: &str) -> Option<&Escaped> {
        self.values
            .iter()
            .find_map(|(known, value)| (*known == name).then_some(value))
    }

    fn fill_line(&self, line: &str, filled: &mut String) {
        let mut rest = line;
        while let Some((before, name, after)) = next_placeholder(rest) {
            filled.push_str(before);
            if let Some(value) = self.value(name) {
                filled.push_str(value.as_str());
            }
            rest = after;
        }
        filled.push_str(rest);
    }

    /// The names that are only in the template or only in its values, and sections that do not nest.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut used = Vec::new();
        let mut open = Vec::new();
        for line in self.text.split_inclusive('\n') {
            match section_mark(line) {
                Some((name, Mark::Begin)) => {
                    used.push(name);
                    open.push(name);
                    if !self.sections.iter().any(|&(known, _)| known == name) {
                        mistakes.push(format!("unknown section {name}"));
                    }
                }
                Some((name, Mark::End)) => {
                    if open.pop() != Some(name) {
                        mistakes.push(format!("section {name} ends where it is not open"));
                    }
                }
                None => {
                    let mut rest = line;
                    while let Some((_, name, after)) = next_placeholder(rest) {
                        used.push(name);
                        if self.value(name).is_none() {
                            mistakes.push(format!("unknown placeholder {name}"));
                        }
                        rest = after;
                    }
                }
            }
        }
        mistakes.extend(open.iter().map(|name| format!("section {name} never ends")));
        let values = self.values.iter().map(|(name, _)| *name);
        let sections = self.sections.iter().map(|&(name, _)| name);
        mistakes.extend(
            values
                .chain(sections)
                .filter(|name| !used.contains(name))
                .map(|name| format!("{name} is not used")),
        );
        mistakes
    }
}

enum Mark {
    Begin,
    End,
}

fn section_mark(line: &str) -> Option<(&str, Mark)> {
    let inner = line.trim().strip_prefix("@[")?.strip_suffix(']')?;
    let (name, mark) = match inner.strip_prefix('/') {
        Some(name) => (name, Mark::End),
        None => (inner, Mark::Begin),
    };
    is_name(name).then_some((name, mark))
}

/// The text before the first placeholder of `text`, its name, and the text after it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let begin = from + text[from..].find('@')?;
        let end = begin + 1 + text[begin + 1..].find('@')?;
        let name = &text[begin + 1..end];
        if is_name(name) {
            return Some((&text[..begin], name, &text[end + 1..]));
        }
        from = end;
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template<'a>(
        text: &'a str,
        values: &'a [(&'a str, Escaped)],
        sections: &'a [(&'a str, bool)],
    ) -> Template<'a> {
        Template {
            text,
            values,
            sections,
        }
    }

    #[test]
    fn values_replace_their_placeholders_only() {
        let values = [
            ("A", Escaped::written("1")),
            ("B_2", Escaped::written("@A@")),
        ];
        let text = "a@b.c @A@@B_2@ -F x=@/p @media @named @\n@[S]\nshown @A@\n@[/S]\nend @A@";
        for (shown, expected) in [
            (true, "a@b.c 1@A@ -F x=@/p @media @named @\nshown 1\nend 1"),
            (false, "a@b.c 1@A@ -F x=@/p @media @named @\nend 1"),
        ] {
            assert_eq!(
                template(text, &values, &[("S", shown)]).fill(),
                expected,
                "a value is not read again"
            );
        }
    }

    #[test]
    fn unknown_unused_and_unclosed_names_are_reported() {
        let values = [("A", Escaped::written("1"))];
        let mistakes = |text, sections| template(text, &values, sections).mistakes();
        assert!(mistakes("@A@", &[]).is_empty());
        for (text, expected) in [
            ("@A@ @X@", "unknown placeholder X"),
            ("nothing", "A is not used"),
            ("@A@\n@[S]\n@[/S]", "unknown section S"),
            ("@A@\n@[/S]", "section S ends where it is not open"),
            ("@A@\n@[S]\n", "section S never ends"),
        ] {
            assert!(
                mistakes(text, &[]).contains(&expected.to_owned()),
                "{text:?}"
            );
        }
        assert_eq!(mistakes("@A@", &[("S", true)]), ["S is not used"]);
    }
}
