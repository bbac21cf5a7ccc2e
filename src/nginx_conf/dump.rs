//! The files of a configuration, as `nginx -T` prints them.

use std::path::Path;

use super::read::{Directive, read};

/// What `nginx -T` prints on standard output: every file of the configuration, the main one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// Paths and texts; never empty.
    files: Vec<(String, String)>,
}

impl Dump {
    /// Reads the output of `nginx -T`; `None` if it holds no configuration file.
    pub fn read(output: &str) -> Option<Self> {
        let mut files: Vec<(String, String)> = Vec::new();
        for line in output.lines() {
            let path = line
                .strip_prefix("# configuration file ")
                .and_then(|rest| rest.strip_suffix(':'));
            if let Some(path) = path {
                files.push((path.to_owned(), String::new()));
            } else if let Some((_, text)) = files.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
        (!files.is_empty()).then_some(Self { files })
    }

    /// The path of the main file.
    pub fn main_file(&self) -> &str {
        &self.files[0].0
    }

    /// All directives of the configuration, those of included files in the place of their `include`.
    ///
    /// A file that includes itself, which nginx refuses, is not read again.
    pub fn directives(&self) -> Vec<Directive> {
        let (path, text) = &self.files[0];
        self.expand(read(path, text), &mut vec![path])
    }

    /// The path or pattern of an `include`: relative ones begin in the directory of the main file.
    pub fn include_pattern(&self, pattern: &str) -> String {
        let directory = Path::new(self.main_file()).parent();
        let path = directory.unwrap_or(Path::new("/")).join(pattern);
        path.to_string_lossy().into_owned()
    }

    /// `include` itself stays in front of what it includes. `open` are the files that lead to these directives.
    fn expand<'a>(&'a self, directives: Vec<Directive>, open: &mut Vec<&'a str>) -> Vec<Directive> {
        let mut expanded = Vec::with_capacity(directives.len());
        for mut directive in directives {
            if let Some(block) = &mut directive.block {
                block.directives = self.expand(std::mem::take(&mut block.directives), open);
            }
            let mut included = Vec::new();
            if directive.name == "include" && directive.block.is_none() {
                for pattern in &directive.arguments {
                    for (path, text) in self.matching(&self.include_pattern(pattern)) {
                        if !open.contains(&path.as_str()) {
                            open.push(path);
                            included.extend(self.expand(read(path, text), open));
                            open.pop();
                        }
                    }
                }
            }
            expanded.push(directive);
            expanded.append(&mut included);
        }
        expanded
    }

    /// The files that a pattern names, in the order in which glob(3) gives them.
    fn matching(&self, pattern: &str) -> Vec<&(String, String)> {
        let mut found: Vec<_> = self
            .files
            .iter()
            .filter(|(path, _)| matches(pattern.as_bytes(), path.as_bytes()))
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }
}

/// Whether a path fits a pattern of glob(7): `*`, `?` and `[…]`, none of which stands for a slash.
pub(super) fn matches(pattern: &[u8], path: &[u8]) -> bool {
    // Where the last `*` stood and how much of the path it took: only the last one is ever tried again.
    let (mut at, mut taken) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(at), path.get(taken)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at + 1, taken));
                at += 1;
                continue;
            }
            (Some(b'?'), Some(&byte)) if byte != b'/' => Some(1),
            (Some(b'['), Some(&byte)) if byte != b'/' => one_of(&pattern[at..], byte),
            (Some(&expected), Some(&byte)) if expected == byte => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                taken += 1;
            }
            (None, Some((after, from))) if path.get(from).is_some_and(|&byte| byte != b'/') => {
                star = Some((after, from + 1));
                at = after;
                taken = from + 1;
            }
            _ => return false,
        }
    }
}

/// The length of the bracket expression at the start of `pattern`, if it holds `byte`.
fn one_of(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let begin = 1 + usize::from(negated);
    // A `]` at the start belongs to the set.
    let end = begin
        + 1
        + pattern
            .get(begin + 1..)?
            .iter()
            .position(|&end| end == b']')?;
    let set = &pattern[begin..end];
    let mut found = false;
    let mut index = 0;
    while index < set.len() {
        if set.get(index + 1) == Some(&b'-') && index + 2 < set.len() {
            found |= (set[index]..=set[index + 2]).contains(&byte);
            index += 3;
        } else {
            found |= set[index] == byte;
            index += 1;
        }
    }
    (found != negated).then_some(end + 1)
}
