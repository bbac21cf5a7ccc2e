use super::*;
use std::collections::HashSet;
use time::macros::date;

#[test]
fn the_documented_paths_are_read() {
    for path in [
        "d/ap5/AbCdEf.png",
        "l/ju28/0123456789.jpg",
        "mm/de31/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef.webp",
    ] {
        assert_eq!(path.parse::<ImagePath>().expect(path).as_str(), path);
    }
}

#[test]
fn everything_else_is_refused() {
    for path in [
        "",
        "/d/ap5/AbCdEf.png",
        "x/ap5/AbCdEf.png",
        "d/xx5/AbCdEf.png",
        "d/ap05/AbCdEf.png",
        "d/ap0/AbCdEf.png",
        "d/ap32/AbCdEf.png",
        "d/ap+5/AbCdEf.png",
        "d/ap/AbCdEf.png",
        "d/ap5/AbCdE.png",
        "d/ap5/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg.png",
        "d/ap5/AbCdEf.svg",
        "d/ap5/AbCdEf.PNG",
        "d/ap5/AbCdEf",
        "d/ap5/AbCdEf.png.php",
        "d/ap5/AbCdEf.png/x.php",
        "d/ap5/../../x/AbCdEf.png",
        "d/ap5/Ab%2Fdef.png",
        "d/ap5/AbCdé.png",
        "d/äp5/AbCdEf.png",
        "d/ap5/AbCdEf.png\n",
        "d/ap5/AbCdEf.png\0",
    ] {
        assert_eq!(path.parse::<ImagePath>(), Err(InvalidPath), "{path:?}");
    }
}

#[test]
fn random_paths_read_back_and_differ() {
    let mut seen = HashSet::new();
    for name_length in NAME_LENGTHS {
        for duration in StoreDuration::ALL {
            for image_type in ImageType::ALL {
                let path =
                    ImagePath::random(duration, date!(2026 - 04 - 05), name_length, image_type)
                        .expect("random");
                assert_eq!(path.as_str().parse(), Ok(path.clone()));
                assert_eq!((path.duration(), path.image_type()), (duration, image_type));
                assert_eq!(
                    path.directory().to_string(),
                    format!("{}/ap5", class_of(duration))
                );
                assert_eq!(
                    path.file_name().len(),
                    name_length + 1 + extension_of(image_type).len()
                );
                assert!(seen.insert(path));
            }
        }
    }
}

#[test]
fn the_list_of_directories_is_complete_and_sorted() {
    let all = Directory::all();
    assert_eq!(all.len() as u64, Directory::COUNT);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    assert!(all.is_sorted_by_key(Directory::prefix));
    let mut day = date!(2028 - 01 - 01);
    while day.year() == 2028 {
        let of_day = Directory::all_of(day);
        assert!(of_day.is_sorted_by_key(Directory::prefix));
        assert!(of_day.iter().all(|directory| all.contains(directory)));
        day = day.next_day().expect("a day");
    }
    for directory in all {
        let path: ImagePath = format!("{directory}/AbCdEf.png").parse().expect("a path");
        assert_eq!(path.directory(), directory);
    }
}

#[test]
fn every_character_of_the_alphabet_is_drawn_alike() {
    let mut name = String::new();
    push_random_name(&mut name, 62_000).expect("random");
    for &letter in ALPHABET {
        let count = name.bytes().filter(|&byte| byte == letter).count();
        // A thousand expected; seven standard deviations are about 220.
        assert!(
            (780..1220).contains(&count),
            "{} was drawn {count} times of 62,000",
            char::from(letter)
        );
    }
}

const SITE: &str = "https://cdn.example.com";

#[test]
fn every_url_of_an_image_gives_its_path() {
    let path: ImagePath = "d/ap5/AbCdEf.png".parse().expect("a path");
    let direct = path.direct_url(SITE);
    let viewer = path.viewer_url(SITE);
    assert_eq!(direct, "https://cdn.example.com/p/d/ap5/AbCdEf.png");
    assert_eq!(viewer, "https://cdn.example.com/view/?img=d/ap5/AbCdEf.png");
    for reference in [
        direct.as_str(),
        viewer.as_str(),
        "d/ap5/AbCdEf.png",
        "p/d/ap5/AbCdEf.png",
        "/p/d/ap5/AbCdEf.png",
        " /p/d/ap5/AbCdEf.png\n",
        "/d/ap5/AbCdEf.png/",
        "/view/?img=d/ap5/AbCdEf.png",
        "?img=d/ap5/AbCdEf.png",
        "http://cdn.example.com/p/d/ap5/AbCdEf.png?download=1#top",
        "https://CDN.example.com:443/p/d/ap5/AbCdEf.png/",
        "cdn.example.com/p/d/ap5/AbCdEf.png",
        "//cdn.example.com/view?img=d/ap5/AbCdEf.png",
        "cdn.example.com/view/?img=d/ap5/AbCdEf.png/",
        "https://cdn.example.com/image/v2/images/d/ap5/AbCdEf.png",
        "https://cdn.example.com/view/?lang=en&img=d/ap5/AbCdEf.png&x=1",
        "https://cdn.example.com/view/?img=d%2Fap5%2FAbCdEf.png&utm_source=mail",
        "https://cdn.example.com/view/?fbclid=a/b&IMG=d%2fap5/AbCdEf.png",
    ] {
        assert_eq!(
            ImagePath::from_reference(reference, SITE),
            Ok(path.clone()),
            "{reference}"
        );
    }
    for wrong in [
        "https://cdn.example.com/",
        "/view/?image=d/ap5/AbCdEf.png",
        "https://cdn.example.com/p/",
        "/view/?img=d%252Fap5%252FAbCdEf.png",
        "/view/?img=..%2Fd%2Fap5%2FAbCdEf.png",
        "x",
        "",
    ] {
        assert_eq!(
            ImagePath::from_reference(wrong, SITE),
            Err(InvalidReference::Path(InvalidPath)),
            "{wrong}"
        );
    }
}

#[test]
fn a_link_of_another_host_is_refused() {
    for (reference, public_url, host) in [
        ("http://other/p/d/ap5/AbCdEf.png", SITE, "other"),
        (
            "other.example.com/view/?img=d/ap5/AbCdEf.png",
            SITE,
            "other.example.com",
        ),
        (
            "https://cdn.example.com:8443/p/d/ap5/AbCdEf.png",
            SITE,
            "cdn.example.com:8443",
        ),
        (
            "https://cdn.example.com@other/p/d/ap5/AbCdEf.png",
            SITE,
            "cdn.example.com@other",
        ),
        (
            "http://127.0.0.1/p/d/ap5/AbCdEf.png",
            "http://127.0.0.1:8080",
            "127.0.0.1",
        ),
    ] {
        let error = ImagePath::from_reference(reference, public_url).expect_err(reference);
        let text = error.to_string();
        assert!(text.starts_with(&format!("a link of {host}, ")), "{text}");
        assert!(text.contains("d/ap5/AbCdEf.png"), "{text}");
    }
    let own = ImagePath::from_reference("[::1]:8080/p/d/ap5/AbCdEf.png", "http://[::1]:8080");
    assert!(own.is_ok(), "{own:?}");
}
