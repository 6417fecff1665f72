//! An article as a Markdown file: a few `key: value` lines between two lines `---`, then the text.

use thiserror::Error;

use super::articles::NewArticle;

/// What is wrong with an article's file.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// The file does not begin with front matter.
    #[error("{slug}: begin the file with a line `---`, `title: …` and another line `---`")]
    NoFrontMatter {
        /// The file's name without `.md`.
        slug: String,
    },
    /// The front matter names no title.
    #[error("{slug}: `title` is missing")]
    NoTitle {
        /// The file's name without `.md`.
        slug: String,
    },
}

/// Reads an article from the text of its file. `slug` is the file's name without `.md`, unless the file names one.
///
/// # Errors
/// [`SourceError`] says what is missing.
pub fn read_source(slug: &str, text: &str) -> Result<NewArticle, SourceError> {
    let text = text.replace("\r\n", "\n");
    let rest = text.strip_prefix("---\n").ok_or_else(|| SourceError::NoFrontMatter { slug: slug.to_owned() })?;
    let (front, body) =
        rest.split_once("\n---\n").ok_or_else(|| SourceError::NoFrontMatter { slug: slug.to_owned() })?;
    let value = |key: &str| {
        front.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let title = value("title")
        .filter(|title| !title.is_empty())
        .ok_or_else(|| SourceError::NoTitle { slug: slug.to_owned() })?;
    let tags = value("tags")
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .split(',')
        .map(|tag| tag.trim().trim_matches('"').to_owned())
        .filter(|tag| !tag.is_empty())
        .collect();
    let slug = value("slug").filter(|slug| !slug.is_empty()).unwrap_or_else(|| slug.to_owned());
    Ok(NewArticle { slug, title, body: body.trim().to_owned(), tags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_gives_title_tags_and_slug() {
        let article =
            read_source("fees", "---\ntitle: \"Fees: all of them\"\ntags: [cards, fees]\n---\n\nText\n").unwrap();
        assert_eq!(article.slug, "fees");
        assert_eq!(article.title, "Fees: all of them");
        assert_eq!(article.tags, ["cards", "fees"]);
        assert_eq!(article.body, "Text");
        assert_eq!(read_source("x", "Text"), Err(SourceError::NoFrontMatter { slug: "x".to_owned() }));
        assert_eq!(read_source("x", "---\ntags: a\n---\nText"), Err(SourceError::NoTitle { slug: "x".to_owned() }));
    }

    #[test]
    fn every_shipped_article_is_read_and_gives_passages_of_one_screen() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/articles");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let slug = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let article = read_source(&slug, &std::fs::read_to_string(&path).unwrap()).unwrap();
            let found = super::super::passages::passages(&article.body);
            assert!(!found.is_empty(), "{slug} has no passage");
            for passage in found {
                assert!(passage.text.len() <= 1000, "{slug}: {}", passage.text);
            }
            count += 1;
        }
        assert!(count >= 30, "{count} articles");
    }
}
