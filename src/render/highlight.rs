//! The colours of the code on the documentation page, put there when it is rendered: they need no script and cost the reader nothing.
//!
//! What is marked is what helps an eye along: comments, strings, words of the language, names of functions and keys. A word that is
//! marked wrongly does no harm, so each language is a handful of rules and not a grammar. The text itself never changes: without
//! its tags the result is the program, and the tests run it from there.

use crate::template::Escaped;

/// What the code is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Lines for a POSIX shell.
    Shell,
    /// JavaScript of browsers and Node.
    JavaScript,
    /// Python 3.
    Python,
    /// PHP 8.
    Php,
    /// Markup of a web page.
    Html,
    /// JSON.
    Json,
    /// Header lines of a reply.
    Headers,
}

/// How a language is read.
struct Rules {
    comments: &'static [(&'static str, &'static str)],
    quotes: &'static [&'static str],
    words: &'static [&'static str],
}

impl Language {
    const fn rules(self) -> Rules {
        match self {
            Self::Shell => Rules {
                comments: &[("#", "\n")],
                quotes: &["\"", "'"],
                words: &["curl", "chmod", "export", "for", "in", "do", "done"],
            },
            Self::JavaScript => Rules {
                comments: &[("//", "\n"), ("/*", "*/")],
                quotes: &["\"", "'", "`"],
                words: &[
                    "async", "await", "catch", "const", "else", "function", "if", "let", "new",
                    "return", "try",
                ],
            },
            Self::Python => Rules {
                comments: &[("\"\"\"", "\"\"\""), ("#", "\n")],
                quotes: &["\"", "'"],
                words: &[
                    "as", "def", "else", "for", "if", "import", "in", "return", "with",
                ],
            },
            Self::Php => Rules {
                comments: &[("//", "\n"), ("/*", "*/")],
                quotes: &["\"", "'"],
                words: &[
                    "<?php", "echo", "else", "elseif", "false", "function", "if", "isset", "new",
                    "return", "true",
                ],
            },
            Self::Html => Rules {
                comments: &[("<!--", "-->")],
                quotes: &["\""],
                words: &[],
            },
            Self::Json | Self::Headers => Rules {
                comments: &[],
                quotes: &["\""],
                words: &[],
            },
        }
    }
}

/// The classes of the style sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Comment,
    Text,
    Word,
    Name,
}

impl Kind {
    const fn class(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Comment => Some("c"),
            Self::Text => Some("s"),
            Self::Word => Some("w"),
            Self::Name => Some("n"),
        }
    }
}

/// The code as HTML, in which every character means itself.
pub(super) fn highlighted(language: Language, code: &str) -> Escaped {
    let rules = language.rules();
    let mut html = String::with_capacity(code.len() * 2);
    let mut plain = String::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let begins_word = code[..code.len() - rest.len()]
            .chars()
            .next_back()
            .is_none_or(|before| !is_part_of_name(before));
        let (kind, length) =
            token(language, &rules, rest, begins_word).unwrap_or((Kind::Plain, first.len_utf8()));
        let (piece, after) = rest.split_at(length);
        if kind == Kind::Plain {
            plain.push_str(piece);
        } else {
            put(&mut html, Kind::Plain, &std::mem::take(&mut plain));
            put(&mut html, kind, piece);
        }
        rest = after;
    }
    put(&mut html, Kind::Plain, &plain);
    Escaped::written(html)
}

fn put(html: &mut String, kind: Kind, text: &str) {
    let escaped = Escaped::html(text);
    if let Some(class) = kind.class() {
        html.push_str("<span class=\"");
        html.push_str(class);
        html.push_str("\">");
        html.push_str(escaped.as_str());
        html.push_str("</span>");
    } else {
        html.push_str(escaped.as_str());
    }
}

/// What `rest` begins with, and its length in bytes; `None` when it is nothing to be marked.
fn token(
    language: Language,
    rules: &Rules,
    rest: &str,
    begins_word: bool,
) -> Option<(Kind, usize)> {
    if let Some(length) = comment(rules, rest) {
        return Some((Kind::Comment, length));
    }
    if let Some(length) = quoted(rules, rest) {
        let is_key = language == Language::Json && rest[length..].starts_with(':');
        return Some((if is_key { Kind::Name } else { Kind::Text }, length));
    }
    if !begins_word && !rest.starts_with('<') {
        return None;
    }
    let word = rules.words.iter().find(|word| {
        rest.strip_prefix(**word)
            .is_some_and(|after| !after.starts_with(is_part_of_name))
    });
    if let Some(word) = word {
        return Some((Kind::Word, word.len()));
    }
    match language {
        // An option, such as -F or --fail.
        Language::Shell if rest.starts_with('-') => {
            let end = rest.find(|character: char| character.is_whitespace() || character == '=');
            Some((Kind::Word, end.unwrap_or(rest.len())))
        }
        Language::Html if rest.starts_with('<') => {
            let end = rest.find(|character: char| character.is_whitespace() || character == '>');
            Some((Kind::Word, end.unwrap_or(rest.len())))
        }
        Language::Headers => name(rest)
            .filter(|&end| rest[end..].starts_with(':'))
            .map(|end| (Kind::Name, end)),
        Language::JavaScript | Language::Python | Language::Php => name(rest).map(|end| {
            // What is not called is still taken as a whole, so that no word is found inside of it.
            let is_called = rest[end..].starts_with('(');
            (if is_called { Kind::Name } else { Kind::Plain }, end)
        }),
        _ => None,
    }
}

fn comment(rules: &Rules, rest: &str) -> Option<usize> {
    rules.comments.iter().find_map(|(open, close)| {
        let inside = rest.strip_prefix(open)?;
        let end = inside.find(close).map_or(rest.len(), |at| {
            let closed = if *close == "\n" { 0 } else { close.len() };
            open.len() + at + closed
        });
        Some(end)
    })
}

/// A string with its quotes. One that never ends is none: an apostrophe may stand alone.
fn quoted(rules: &Rules, rest: &str) -> Option<usize> {
    let quote = rules
        .quotes
        .iter()
        .find(|quote| rest.starts_with(**quote))?;
    let mut position = quote.len();
    loop {
        let inside = &rest[position..];
        if inside.starts_with(quote) {
            return Some(position + quote.len());
        }
        let skipped = usize::from(inside.starts_with('\\'));
        position += inside
            .chars()
            .take(skipped + 1)
            .map(char::len_utf8)
            .sum::<usize>();
        if inside.is_empty() || inside.starts_with('\n') {
            return None;
        }
    }
}

/// The length of the name that `rest` begins with.
fn name(rest: &str) -> Option<usize> {
    let end = rest
        .find(|character| !is_part_of_name(character))
        .unwrap_or(rest.len());
    (end > 0).then_some(end)
}

fn is_part_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-$".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser shows of it.
    fn text_of(html: &Escaped) -> String {
        let mut text = String::new();
        let mut rest = html.as_str();
        while let Some((before, tag)) = rest.split_once('<') {
            text.push_str(before);
            rest = tag.split_once('>').expect("a whole tag").1;
        }
        text.push_str(rest);
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    }

    #[test]
    fn code_is_marked_by_what_it_is() {
        for (language, code, expected) in [
            (
                Language::Shell,
                "curl -F \"a=b\" x-y # why",
                "<span class=\"w\">curl</span> <span class=\"w\">-F</span> <span class=\"s\">&quot;a=b&quot;</span> x-y <span class=\"c\"># why</span>",
            ),
            (
                Language::JavaScript,
                "if (iffy) say('a\\'b'); // x\n",
                "<span class=\"w\">if</span> (iffy) <span class=\"n\">say</span>(<span class=\"s\">&#39;a\\&#39;b&#39;</span>); <span class=\"c\">// x</span>\n",
            ),
            (
                Language::Python,
                "\"\"\"two\nlines\"\"\" def f(x)",
                "<span class=\"c\">&quot;&quot;&quot;two\nlines&quot;&quot;&quot;</span> <span class=\"w\">def</span> <span class=\"n\">f</span>(x)",
            ),
            (
                Language::Php,
                "<?php $new = new A",
                "<span class=\"w\">&lt;?php</span> $new = <span class=\"w\">new</span> A",
            ),
            (
                Language::Html,
                "<p id=\"x\">a</p>",
                "<span class=\"w\">&lt;p</span> id=<span class=\"s\">&quot;x&quot;</span>&gt;a<span class=\"w\">&lt;/p</span>&gt;",
            ),
            (
                Language::Json,
                "{\"a\": \"b\"}",
                "{<span class=\"n\">&quot;a&quot;</span>: <span class=\"s\">&quot;b&quot;</span>}",
            ),
            (
                Language::Headers,
                "Retry-After: 1",
                "<span class=\"n\">Retry-After</span>: 1",
            ),
        ] {
            assert_eq!(highlighted(language, code).as_str(), expected);
        }
    }

    #[test]
    fn whatever_it_is_the_text_stays() {
        for language in [
            Language::Shell,
            Language::JavaScript,
            Language::Python,
            Language::Php,
            Language::Html,
            Language::Json,
            Language::Headers,
        ] {
            for code in [
                "",
                "'",
                "\"\\",
                "it's \"open\nand 'closed' é\\é <&> \"é\\",
                "/* # // <!-- \"\"\" -",
                "`\u{1f4f7}` --\u{1f4f7}=\u{1f4f7} $a-b_c(\u{1f4f7})",
                "<script>alert('&amp;')</script>",
            ] {
                let html = highlighted(language, code);
                assert_eq!(text_of(&html), code, "{language:?}");
                assert!(!html.as_str().contains("<script"), "{language:?}");
            }
        }
    }
}
