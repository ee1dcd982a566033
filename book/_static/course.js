// Quizzes that answer, and progress that the reader's own browser keeps. No other host, no library.
//
// Without this script a quiz is a row of folds that open to their verdict, as on GitHub, in Colab and in JupyterLab;
// the script turns the same folds into buttons. window.minidiffCourse (course-data.js, made at build time) says which
// exercises and questions there are.
(() => {
  "use strict";
  const KEY = "minidiff.progress", EMPTY = '{"version": 1, "exercises": {}, "questions": {}}';
  const course = window.minidiffCourse || {lessons: []};
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const today = () => new Date().toISOString().slice(0, 10);

  // --- what is kept ------------------------------------------------------------------------------------------------

  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const isDay = (value) => typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value);

  // What is wrong with a file or with what the browser kept, in a sentence; "" where nothing is.
  const fault = (data) => {
    if (!isObject(data) || data.version !== 1) return 'it has no "version": 1';
    for (const part of ["exercises", "questions"])
      if (!isObject(data[part])) return '"' + part + '" is missing or no object';
    for (const [id, day] of Object.entries(data.exercises))
      if (!isDay(day)) return 'exercise "' + id + '" has no date like 2026-01-31';
    for (const [id, answer] of Object.entries(data.questions))
      if (!isObject(answer) || typeof answer.first !== "boolean" || !isDay(answer.date))
        return 'question "' + id + '" needs "first" (true or false) and "date"';
    return "";
  };
  const parsed = (text) => {
    let data;
    try { data = JSON.parse(text); } catch { throw new Error("it is no JSON"); }
    const wrong = fault(data);
    if (wrong) throw new Error(wrong);
    return data;
  };

  let memory = null; // what has been done since the page was opened, where the browser keeps nothing
  let trouble = "";
  const forgets = (why) => {
    trouble = why + " What you do counts until you leave this page; export it to keep it.";
  };
  const load = () => {
    if (memory !== null) return memory;
    try {
      const text = window.localStorage.getItem(KEY);
      try {
        return parsed(text === null ? EMPTY : text);
      } catch (error) { // kept aside, never thrown away
        window.localStorage.setItem(KEY + ".unreadable", text);
        window.localStorage.setItem(KEY, EMPTY);
        trouble = "What this browser had kept could not be read (" + error.message + "). It was put aside under the " +
          "name " + KEY + ".unreadable, and you start afresh.";
        return parsed(EMPTY);
      }
    } catch {
      memory = parsed(EMPTY);
      forgets("This browser does not let the page keep anything.");
      return memory;
    }
  };
  const save = (data) => {
    if (memory === null) {
      try {
        window.localStorage.setItem(KEY, JSON.stringify(data));
      } catch {
        memory = data;
        forgets("This browser could not keep what you did.");
      }
    } else memory = data;
    refresh();
  };
  const merged = (mine, theirs) => ({
    version: 1,
    exercises: {...theirs.exercises, ...mine.exercises},
    questions: {...theirs.questions, ...mine.questions}, // the first try is the one that was made here
  });

  const views = []; // functions that show the progress again after each change
  const refresh = () => { const data = load(); for (const view of views) view(data); };
  const shows = (view) => { views.push(view); view(load()); };

  // --- quizzes -----------------------------------------------------------------------------------------------------

  let quizzes = 0;
  const option = (fold) => {
    const summary = fold.querySelector("summary"), reason = make("div");
    const [, letter, rest] = summary.innerHTML.trim().match(/^(?:([A-Z])\.\s+)?([^]*)$/);
    for (const node of fold.childNodes) if (node !== summary) reason.append(node.cloneNode(true));
    const strong = reason.querySelector("strong"), button = make("button", "md-option");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    const text = make("span", "md-text"), mark = make("span", "md-mark");
    text.innerHTML = rest;
    button.append(make("span", "md-letter", letter || ""), text, mark);
    return {button, mark, letter, reason, right: strong !== null && strong.textContent.trim() === "Right."};
  };

  const enhance = (quiz) => {
    const folds = [...quiz.querySelectorAll("details")], question = quiz.querySelector("p");
    if (!folds.length || !question || quiz.dataset.ready) return;
    quiz.dataset.ready = "1";
    const id = quiz.dataset.question, options = folds.map(option);
    question.id = question.id || "md-question-" + quizzes++;
    quiz.setAttribute("role", "group");
    quiz.setAttribute("aria-labelledby", question.id);
    const list = make("ul", "md-options"), feedback = make("div", "md-feedback"), record = make("p", "md-record");
    feedback.setAttribute("role", "status");
    for (const one of options) {
      const item = make("li");
      item.append(one.button);
      list.append(item);
      one.button.addEventListener("click", () => {
        for (const other of options) other.button.setAttribute("aria-pressed", String(other === one));
        one.button.dataset.verdict = one.right ? "right" : "wrong";
        one.mark.textContent = one.right ? "\u2713 right" : "\u2717 no";
        feedback.dataset.verdict = one.button.dataset.verdict;
        const reason = one.reason.cloneNode(true);
        if (one.letter) reason.querySelector("p")?.prepend(one.letter + ". ");
        feedback.replaceChildren(reason);
        const data = load();
        if (id && !Object.hasOwn(data.questions, id)) {
          data.questions[id] = {first: one.right, date: today()};
          save(data);
        }
      });
    }
    for (const fold of folds) fold.remove();
    quiz.append(list, feedback, record);
    if (id) shows((data) => {
      const answer = data.questions[id];
      record.textContent = answer ? (answer.first ? "Right at your first try" : "Not right at your first try") +
        ", on " + answer.date + "." : "";
    });
  };

  // --- exercises ---------------------------------------------------------------------------------------------------

  const tick = (id, text, shown) => {
    const label = make("label", "md-done"), box = make("input");
    box.type = "checkbox";
    if (shown) label.append(box, make("span", "", text));
    else label.append(box), box.setAttribute("aria-label", text);
    box.addEventListener("change", () => {
      const data = load();
      if (box.checked) data.exercises[id] = today();
      else delete data.exercises[id];
      save(data);
    });
    shows((data) => { box.checked = Object.hasOwn(data.exercises, id); });
    return label;
  };
  const lessonPage = () => {
    const lesson = course.lessons.find((one) => decodeURI(location.pathname).endsWith("/" + one.page));
    if (!lesson) return;
    for (const heading of document.querySelectorAll("article h3")) {
      const plain = heading.cloneNode(true);
      for (const link of plain.querySelectorAll(".headerlink")) link.remove();
      const title = plain.textContent.trim();
      const exercise = lesson.exercises.find((one) => title === "Exercise: " + one.title);
      if (!exercise) continue;
      const effort = heading.nextElementSibling || heading;
      effort.after(tick(exercise.id, "I have solved this exercise", true));
    }
  };

  // --- the page "Your progress" ------------------------------------------------------------------------------------

  const bar = (name) => {
    const row = make("div", "md-bar"), track = make("div", "md-track"), fill = make("div", "md-fill");
    const said = make("span", "md-said");
    track.append(fill);
    row.append(make("span", "md-name", name), said, track);
    track.setAttribute("role", "progressbar");
    track.setAttribute("aria-label", name);
    track.setAttribute("aria-valuemin", "0");
    const set = (done, all, words) => {
      fill.style.width = (all ? 100 * done / all : 0) + "%";
      track.setAttribute("aria-valuemax", all);
      track.setAttribute("aria-valuenow", done);
      track.setAttribute("aria-valuetext", words);
      said.textContent = words;
    };
    return {row, set};
  };
  const bars = (place, lessons) => {
    const exercises = lessons.flatMap((one) => one.exercises), questions = lessons.flatMap((one) => one.questions);
    const work = bar("Exercises"), quiz = bar("Quiz");
    place.replaceChildren(...(exercises.length ? [work.row] : []), ...(questions.length ? [quiz.row] : []));
    shows((data) => {
      const done = exercises.filter((one) => Object.hasOwn(data.exercises, one.id)).length;
      const asked = questions.filter((one) => Object.hasOwn(data.questions, one.id));
      const right = asked.filter((one) => data.questions[one.id].first).length;
      work.set(done, exercises.length, done + " of " + exercises.length + " solved");
      quiz.set(right, questions.length, right + " of " + questions.length + " right at first try, " +
        asked.length + " answered");
    });
  };

  const button = (text, act) => {
    const node = make("button", "md-button", text);
    node.type = "button";
    node.addEventListener("click", act);
    return node;
  };
  const fileButton = (text, take) => {
    const input = make("input");
    Object.assign(input, {type: "file", accept: ".json,application/json", hidden: true});
    input.addEventListener("change", async () => {
      const [file] = input.files;
      if (file) take(file.name, await file.text());
      input.value = ""; // or the same file could not be chosen twice
    });
    const node = button(text, () => input.click());
    node.append(input);
    input.addEventListener("click", (event) => event.stopPropagation());
    return node;
  };
  const exported = () => {
    const blob = new Blob([JSON.stringify(load(), null, 2) + "\n"], {type: "application/json"});
    const link = make("a");
    Object.assign(link, {href: URL.createObjectURL(blob), download: "minidiff-progress.json"});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const entries = (data) => Object.keys(data.exercises).length + Object.keys(data.questions).length;
  const controls = (place) => {
    const said = make("p", "md-said"), row = make("div", "md-controls-row"), sure = make("div", "md-sure");
    said.setAttribute("role", "status");
    sure.setAttribute("role", "group");
    sure.setAttribute("aria-label", "Erase everything?");
    sure.hidden = true;
    const take = (name, text) => {
      try {
        const mine = load(), both = merged(mine, parsed(text));
        save(both);
        said.textContent = name + " was added; new entries: " + (entries(both) - entries(mine)) +
          ". What you had stays as it was.";
      } catch (error) {
        said.textContent = name + " was not taken: " + error.message + ". Nothing has changed.";
      }
    };
    const erase = button("Erase\u2026", () => {
      sure.hidden = false;
      sure.querySelector("button").focus();
    });
    const close = (words) => { sure.hidden = true; erase.focus(); said.textContent = words; };
    sure.append(
      make("span", "", "All ticks and answers go for good. Export them first if you may want them back."),
      button("Keep", () => close("Nothing was erased.")),
      button("Erase everything", () => { save(parsed(EMPTY)); close("All progress was erased."); }),
    );
    const send = button("Export", () => { exported(); said.textContent = "Saved as minidiff-progress.json."; });
    row.append(send, fileButton("Import\u2026", take), erase);
    place.replaceChildren(row, sure, said);
  };
  const notes = (place) => shows(() => {
    const disk = location.protocol === "file:" ? "You read the book from disk. Some browsers then keep what each page " +
      "stores apart: if a tick made in a lesson is missing here, run \"python -m http.server --directory " +
      "book/_build/html\" and open the address that it prints." : "";
    place.textContent = [trouble, disk].filter(Boolean).join(" ");
    place.hidden = !place.textContent;
  });
  const progressPage = () => {
    const find = (name) => document.querySelector(name);
    if (!find(".minidiff-progress")) return;
    find(".md-needs-script")?.remove();
    bars(find(".minidiff-progress .md-total"), course.lessons);
    controls(find(".minidiff-progress .md-tools"));
    notes(find(".minidiff-progress .md-note"));
    const titles = new Map(course.lessons.flatMap((one) => one.exercises).map((one) => [one.id, one.title]));
    for (const place of document.querySelectorAll("[data-lesson]"))
      bars(place, course.lessons.filter((one) => one.number === place.dataset.lesson));
    for (const place of document.querySelectorAll("span[data-exercise]"))
      place.replaceChildren(tick(place.dataset.exercise, "Solved: " + titles.get(place.dataset.exercise), false));
    for (const place of document.querySelectorAll("span[data-asked]"))
      shows((data) => {
        const answer = data.questions[place.dataset.asked];
        place.className = "md-answer";
        place.textContent = answer ? (answer.first ? "\u2713 right at first try" : "\u2717 not at first try") :
          "\u2013 not answered";
      });
  };

  const start = () => {
    for (const quiz of document.querySelectorAll(".minidiff-quiz")) enhance(quiz);
    lessonPage();
    progressPage();
    window.addEventListener("storage", (event) => { if (event.key === KEY || event.key === null) refresh(); });
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
