use super::*;

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("readable");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

const ALL_OURS: Option<IsOurs> = Some(|_, _| true);

#[test]
fn a_folder_left_by_a_killed_process_of_the_same_id_is_no_obstacle_and_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("run");
    let lefts = ["new", "old"].map(|what| names_beside(&dir, what).expect("names").next().expect("a name"));
    for left in &lefts {
        fs::create_dir(left).expect("writable");
        fs::write(left.join("half"), "").expect("writable");
    }
    for text in ["first", "second"] {
        replace_folder(&dir, ALL_OURS, |aside| fs::write(aside.join("file"), text)).expect("written");
        assert_eq!(fs::read_to_string(dir.join("file")).expect("readable"), text);
    }
    assert_eq!(names(folder.path()).len(), 3);
    assert!(lefts.iter().all(|left| left.join("half").exists()));
}

#[test]
fn a_panic_leaves_no_temporary_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("run");
    let writes: [fn(&Path) -> io::Result<()>; 2] = [
        |dir| replace_folder(dir, ALL_OURS, |_| -> io::Result<()> { panic!("a fault") }),
        |dir| write_whole(dir, |_| -> io::Result<()> { panic!("a fault") }),
    ];
    for write in writes {
        assert!(std::panic::catch_unwind(|| write(&dir)).is_err());
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn of_a_folder_only_our_files_are_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("run");
    let ours: IsOurs = |_, file| file.starts_with("a");
    fs::create_dir_all(dir.join("a/empty")).expect("writable");
    fs::create_dir_all(dir.join("b")).expect("writable");
    for name in ["a/1", "a/2", "b/thesis"] {
        fs::write(dir.join(name), "x").expect("writable");
    }
    let refused =
        replace_folder(&dir, Some(ours), |made| fs::write(made.join("new"), "x")).expect_err("a foreign file");
    assert!(refused.to_string().contains("files that Carom did not write (b/thesis)"), "{refused}");
    assert_eq!((names(folder.path()), names(&dir.join("a")).len()), (vec!["run".to_owned()], 3));
    remove_ours(&dir, ours).expect("removable");
    assert_eq!((names(&dir), names(&dir.join("b"))), (vec!["b".to_owned()], vec!["thesis".to_owned()]));
    fs::remove_file(dir.join("b/thesis")).expect("there");
    remove_ours(&dir, ours).expect("removable");
    assert!(!dir.exists());
}

#[test]
fn of_two_processes_that_make_the_same_folder_the_second_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("run");
    fs::create_dir(&dir).expect("writable");
    let make = |text: &str| replace_folder(&dir, None, |made| fs::write(made.join("file"), text));
    make("first").expect("an empty folder is free");
    assert!(make("second").is_err());
    assert_eq!(fs::read_to_string(dir.join("file")).expect("there"), "first");
    assert_eq!(names(folder.path()), ["run"]);
}

#[test]
fn a_path_means_the_same_in_every_directory() {
    let here = std::env::current_dir().expect("a working directory");
    for (typed, plain) in [("fit", "fit"), ("./a//b/", "a/b"), ("/x/./y/", "/x/y")] {
        let found = absolute(typed).expect("a path");
        assert_eq!(Path::new(&found), here.join(plain));
        assert_eq!(shown(Path::new(&found)), Path::new(plain));
    }
    assert!(absolute("").is_err());
}

#[test]
fn a_failed_write_leaves_the_file_as_it_was_and_nothing_beside_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("plots/a.txt");
    write_whole(&path, |file| file.write_all(b"first")).expect("written");
    let failed = write_whole(&path, |file| {
        file.write_all(b"sec")?;
        Err(io::Error::other("no more"))
    });
    assert_eq!(failed.expect_err("it failed").to_string(), "no more");
    assert_eq!(fs::read_to_string(&path).expect("there"), "first");
    assert_eq!(names(path.parent().expect("a folder")), ["a.txt"]);
}

#[test]
fn a_folder_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("run");
    for word in ["first", "second"] {
        replace_folder(&dir, ALL_OURS, |made| fs::write(made.join(word), word)).expect("made");
        assert_eq!(names(&dir), [word]);
    }
    let failed = replace_folder(&dir, ALL_OURS, |made| {
        fs::write(made.join("third"), "")?;
        Err(io::Error::other("no more"))
    });
    assert!(failed.is_err() && names(&dir) == ["second"] && names(folder.path()) == ["run"]);
}

#[test]
fn a_folder_that_cannot_be_replaced_has_its_name_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("run");
    replace_folder(&dir, None, |made| fs::write(made.join("first"), "")).expect("made");
    // Somebody removes the new folder while the old one is looked at.
    let removes: IsOurs = |dir, _| {
        let folder = folder_of(dir);
        names(folder).iter().filter(|name| is_left_over(name)).for_each(|name| discard(&folder.join(name)));
        true
    };
    let failed = replace_folder(&dir, Some(removes), |made| fs::write(made.join("second"), ""));
    assert!(failed.is_err() && names(&dir) == ["first"] && names(folder.path()) == ["run"]);
}

#[test]
fn leftovers_are_told_from_other_names() {
    for left in names_beside(Path::new("a/12"), "new").expect("names").take(2) {
        assert!(is_left_over(&left.file_name().expect("a name").to_string_lossy()), "{left:?}");
    }
    assert!(!["12", ".lock", ".gitignore", "a.new-1", ".my.new-photos"].into_iter().any(is_left_over));
}

#[test]
fn digests_are_in_hexadecimal() {
    assert_eq!(hex(&[0, 10, 255]), "000aff");
}
