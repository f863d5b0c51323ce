//! The recipes of docs/coming-from-nginx.md, held to the truth: each is a file in `tests/recipes` with a piece of nginx's
//! configuration, the same for Countersign, and requests. Both get the requests, in front of the same upstreams; what clients
//! and upstreams see is compared, and a difference that the file does not explain (or explains and is not there) fails.

mod compare;
mod file;
mod peers;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use file::Recipe;
use peers::{Bench, Front};

/// How many recipes are tried at once.
const AT_ONCE: usize = 2;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recipes")
}

fn recipes() -> Vec<Recipe> {
    let entries = std::fs::read_dir(directory()).expect("tests/recipes");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths.iter().map(|path| Recipe::read(path)).collect()
}

/// `RECIPE=name` tries the ones whose name contains that.
fn chosen() -> Vec<Recipe> {
    let wanted = std::env::var("RECIPE").unwrap_or_default();
    recipes().into_iter().filter(|recipe| recipe.name.contains(&wanted)).collect()
}

/// What is wrong with a recipe; `None`: nothing.
fn judge(recipe: &Recipe) -> Option<String> {
    let bench = Bench::set_up(recipe);
    let nginx = bench.observe(Front::Nginx, recipe);
    let countersign = bench.observe(Front::Countersign, recipe);
    let wrong = match (nginx, countersign) {
        (Ok(nginx), Ok(countersign)) => compare::unexplained(recipe, &nginx, &countersign),
        (Err(why), _) => vec![format!("nginx: {why}")],
        (_, Err(why)) => vec![format!("countersign: {why}")],
    };
    (!wrong.is_empty()).then(|| format!("{}\n  {}", recipe.name, wrong.join("\n  ")))
}

#[test]
fn every_recipe_does_with_countersign_what_it_does_with_nginx() {
    let recipes = chosen();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(recipe) = recipes.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(recipe)));
                    let found = tried.unwrap_or_else(|_| Some(format!("{}\n  panicked", recipe.name)));
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} recipes:\n{}", wrong.len(), recipes.len(), wrong.join("\n"));
}

#[test]
fn there_are_sixty_of_them_and_the_chapter_lists_them_all() {
    let recipes = recipes();
    assert!(recipes.len() >= 60, "{} recipes", recipes.len());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/coming-from-nginx.md");
    let chapter = std::fs::read_to_string(&path).expect("docs/coming-from-nginx.md");
    let (front, _) = chapter.split_once(MARK).expect("the mark before the list");
    let expected = format!("{front}{MARK}{}", list(&recipes));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &expected).expect("write the chapter");
    } else {
        assert!(chapter == expected, "{} is out of date: UPDATE_GOLDEN=1 writes its list anew", path.display());
    }
}

const MARK: &str = "<!-- The list below is made from tests/recipes. -->\n";

fn list(recipes: &[Recipe]) -> String {
    let mut text = "\n| recipe | when | differences |\n| --- | --- | --- |\n".to_owned();
    for recipe in recipes {
        let differences = match recipe.explained.len() {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        let (title, name, when) = (&recipe.title, &recipe.name, &recipe.when);
        text.push_str(&format!("| [{title}](../tests/recipes/{name}.md) | {when} | {differences} |\n"));
    }
    text
}
