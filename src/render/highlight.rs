//! Syntax highlighting of the examples on the documentation page, done when the page is rendered.
//!
//! One set of rules serves all languages of the examples: comments, strings, keywords, options, tags, and names that are called or
//! that a colon follows. Without its tags the result is the code unchanged: tests run the examples from the page.

use crate::template::Escaped;

/// Comments by how they begin and end. They begin after white space, so that the `//` of a URL begins none.
const COMMENTS: [(&str, &str); 5] = [
    ("\"\"\"", "\"\"\""),
    ("<!--", "-->"),
    ("/*", "*/"),
    ("//", "\n"),
    ("#", "\n"),
];

const KEYWORDS: [&str; 40] = [
    "as", "async", "await", "catch", "class", "const", "curl", "def", "defer", "echo", "else",
    "elseif", "exit", "fn", "for", "foreach", "from", "func", "function", "if", "import", "in",
    "isset", "let", "mut", "new", "package", "public", "raise", "return", "static", "throw",
    "throws", "try", "use", "using", "var", "void", "while", "with",
];

/// The code as HTML, with a class of the style sheet for each token.
pub(super) fn highlighted(code: &str) -> Escaped {
    let mut html = String::with_capacity(code.len() * 2);
    let (mut rest, mut before) = (code, ' ');
    while !rest.is_empty() {
        let (class, length) = token(rest, before);
        let (piece, after) = rest.split_at(length);
        let escaped = Escaped::html(piece);
        match class {
            Some(class) => {
                for part in ["<span class=\"", class, "\">", escaped.as_str(), "</span>"] {
                    html.push_str(part);
                }
            }
            None => html.push_str(escaped.as_str()),
        }
        before = piece.chars().next_back().unwrap_or(before);
        rest = after;
    }
    Escaped::written(html)
}

/// The class of the token at the start of `rest`, if it has one, and its length in bytes, never 0. `before` is the character in front.
fn token(rest: &str, before: char) -> (Option<&'static str>, usize) {
    let after_space = before.is_whitespace();
    if let Some(length) = comment(rest).filter(|_| after_space) {
        return (Some("c"), length);
    }
    if let Some(length) = string(rest) {
        let is_key = rest[length..].starts_with(':');
        return (Some(if is_key { "n" } else { "s" }), length);
    }
    if rest.starts_with('<') && rest[1..].starts_with(|next| "/?!".contains(next) || is_name(next))
    {
        let end = rest.find(|character: char| character.is_whitespace() || character == '>');
        return (Some("w"), end.unwrap_or(rest.len()));
    }
    let end = rest.find(|next| !is_name(next)).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let is_option = after_space && name.len() > 1 && name.starts_with('-');
    let is_header = after.starts_with(':') && name.contains('-');
    if name.is_empty() {
        (None, rest.chars().next().map_or(1, char::len_utf8))
    } else if is_option || KEYWORDS.contains(&name) {
        (Some("w"), end)
    } else if is_header || after.starts_with('(') {
        (Some("n"), end)
    } else {
        (None, end)
    }
}

fn comment(rest: &str) -> Option<usize> {
    COMMENTS.iter().find_map(|(open, close)| {
        let inside = rest.strip_prefix(open)?;
        let close_length = close.trim_end().len();
        Some(
            inside
                .find(close)
                .map_or(rest.len(), |at| open.len() + at + close_length),
        )
    })
}

/// The length of the string with its quotation marks, which ends on its line.
fn string(rest: &str) -> Option<usize> {
    let quote = rest
        .chars()
        .next()
        .filter(|first| "\"'`".contains(*first))?;
    let mut is_escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        match character {
            '\n' => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return Some(position + 1),
            _ => {}
        }
    }
    None
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-$".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that a browser shows.
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
    fn each_language_of_the_examples_is_highlighted() {
        for (code, expected) in [
            (
                "curl -F \"a=b\" x-y http://a/b # why",
                "<span class=\"w\">curl</span> <span class=\"w\">-F</span> <span class=\"s\">&quot;a=b&quot;</span> x-y http://a/b <span class=\"c\"># why</span>",
            ),
            (
                "if (iffy) say('a\\'b'); // x\n",
                "<span class=\"w\">if</span> (iffy) <span class=\"n\">say</span>(<span class=\"s\">&#39;a\\&#39;b&#39;</span>); <span class=\"c\">// x</span>\n",
            ),
            (
                "\"\"\"two\nlines\"\"\" def f(x)",
                "<span class=\"c\">&quot;&quot;&quot;two\nlines&quot;&quot;&quot;</span> <span class=\"w\">def</span> <span class=\"n\">f</span>(x)",
            ),
            (
                "<?php $new = new A",
                "<span class=\"w\">&lt;?php</span> $new = <span class=\"w\">new</span> A",
            ),
            (
                "<p id=\"x\">a</p>",
                "<span class=\"w\">&lt;p</span> id=<span class=\"s\">&quot;x&quot;</span>&gt;a<span class=\"w\">&lt;/p</span>&gt;",
            ),
            (
                "{\"a\": \"b\"}",
                "{<span class=\"n\">&quot;a&quot;</span>: <span class=\"s\">&quot;b&quot;</span>}",
            ),
            ("Retry-After: 1", "<span class=\"n\">Retry-After</span>: 1"),
        ] {
            assert_eq!(highlighted(code).as_str(), expected);
        }
    }

    #[test]
    fn highlighting_keeps_the_text() {
        for code in [
            "",
            "'",
            "\"\\",
            "it's \"open\nand 'closed' é\\é <&> \"é\\",
            "/* # // <!-- \"\"\" -",
            "`\u{1f4f7}` --\u{1f4f7}=\u{1f4f7} $a-b_c(\u{1f4f7})",
            "<script>alert('&amp;')</script>",
            "<\u{1f4f7} <!-",
        ] {
            let html = highlighted(code);
            assert_eq!(text_of(&html), code);
            assert!(!html.as_str().contains("<script"), "{code}");
        }
    }
}
