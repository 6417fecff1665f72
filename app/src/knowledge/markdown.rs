//! Markdown as HTML, without anything a writer could smuggle in.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

fn parser(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// How a line begins that notes another way of asking for what stands under the heading. Such lines are searched, and not
/// shown.
const PHRASING: &str = "? ";

/// The article as customers read it: without the lines that only help to find it.
fn shown(markdown: &str) -> String {
    markdown.lines().filter(|line| !line.starts_with(PHRASING)).collect::<Vec<_>>().join("\n")
}

/// HTML of an article. Raw HTML is dropped, images become their description, links lead only to `https:`, `mailto:`,
/// `tel:` and addresses of this site.
#[must_use]
pub fn to_html(markdown: &str) -> String {
    let markdown = shown(markdown);
    let events = parser(&markdown).filter_map(|event| match event {
        Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => None,
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Some(Event::Start(Tag::Link { dest_url: safe(link_type, dest_url), link_type, title, id }))
        }
        other => Some(other),
    });
    let mut page = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut page, events);
    page
}

/// The address if it is harmless, else one that leads nowhere.
fn safe(kind: LinkType, address: CowStr<'_>) -> CowStr<'_> {
    let lower = address.trim().to_ascii_lowercase();
    let harmless = kind == LinkType::Email
        || ["https://", "mailto:", "tel:", "#"].iter().any(|start| lower.starts_with(start))
        || (lower.starts_with('/') && !lower.starts_with("//") && !lower.starts_with("/\\"));
    if harmless { address } else { CowStr::Borrowed("#") }
}

/// A part of an article under one heading, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// The heading over it; empty before the first.
    pub(super) heading: String,
    /// Paragraphs and lists, one string each.
    pub(super) blocks: Vec<String>,
    /// Other ways of asking for it.
    pub(super) phrasings: Vec<String>,
}

impl Section {
    fn under(heading: String) -> Self {
        Self { heading, blocks: Vec::new(), phrasings: Vec::new() }
    }
}

/// The article's sections in plain words.
pub(super) fn sections(markdown: &str) -> Vec<Section> {
    let mut sections = vec![Section::under(String::new())];
    let mut text = String::new();
    let mut depth = 0_usize;
    for event in parser(markdown) {
        match event {
            Event::Start(Tag::Item) => text.push_str(if text.is_empty() { "- " } else { "\n- " }),
            Event::Start(Tag::List(_) | Tag::Table(_) | Tag::BlockQuote(_)) => depth += 1,
            Event::End(TagEnd::Heading(_)) => {
                let heading = std::mem::take(&mut text).trim().to_owned();
                sections.push(Section::under(heading));
            }
            Event::End(TagEnd::List(_) | TagEnd::Table | TagEnd::BlockQuote(_)) => {
                depth = depth.saturating_sub(1);
                close(&mut sections, &mut text, depth);
            }
            Event::End(TagEnd::Paragraph | TagEnd::CodeBlock) => close(&mut sections, &mut text, depth),
            Event::End(TagEnd::TableCell) => text.push_str(" · "),
            Event::End(TagEnd::TableRow | TagEnd::TableHead) => text.push('\n'),
            Event::Text(words) | Event::Code(words) => text.push_str(&words),
            // Phrasings are one a line; elsewhere where a line ends means nothing.
            Event::SoftBreak if text.starts_with(PHRASING) => text.push('\n'),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            _ => {}
        }
    }
    sections.retain(|section| !section.blocks.is_empty());
    sections
}

/// Ends a block, unless it lies within another.
fn close(sections: &mut [Section], text: &mut String, depth: usize) {
    if depth > 0 {
        return;
    }
    let block = std::mem::take(text);
    let (Some(section), block) = (sections.last_mut(), block.trim()) else { return };
    if block.starts_with(PHRASING) {
        section.phrasings.extend(block.lines().map(|line| line.trim_start_matches(PHRASING).trim().to_owned()));
    } else if !block.is_empty() {
        section.blocks.push(block.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_smuggled_in() {
        let page = to_html(
            "a <script>alert(1)</script> <b onclick=x>b</b>\n\n<div><iframe src=x></iframe></div>\n\n\
             [l](javascript:alert(1)) [m](//evil.example) [n](JaVaScRiPt:x) ![i](http://x/y.png) [ok](/help/fees)",
        );
        for bad in ["<script", "onclick", "<iframe", "<div", "javascript", "JaVaScRiPt", "evil.example", "<img"] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
        assert!(page.contains("<a href=\"/help/fees\">ok</a>"), "{page}");
    }

    #[test]
    fn sections_hold_paragraphs_and_lists_under_their_heading() {
        let found = sections("Intro *here*.\n\n## Abroad\n\nOne\ntwo.\n\n- a\n- b **c**\n\n## Empty\n");
        assert_eq!(
            found,
            [
                Section { blocks: vec!["Intro here.".to_owned()], ..Section::under(String::new()) },
                Section {
                    blocks: vec!["One two.".to_owned(), "- a\n- b c".to_owned()],
                    ..Section::under("Abroad".to_owned())
                },
            ]
        );
    }

    #[test]
    fn ways_of_asking_are_kept_with_their_section_and_not_shown() {
        let article = "## Limits\n\n? can I raise my limit\n? more than 1,000 a day\n\nIn the app.\n";
        let found = sections(article);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].phrasings, ["can I raise my limit", "more than 1,000 a day"]);
        assert_eq!(found[0].blocks, ["In the app."]);
        let page = to_html(article);
        assert!(page.contains("In the app.") && !page.contains("raise"), "{page}");
    }
}
