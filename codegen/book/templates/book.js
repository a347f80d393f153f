// Turns each figure's list of steps into one that is stepped through. Without this script all steps stand side by side.
"use strict";
(() => {
  const PAUSE = 1600; // milliseconds a step stays when it plays
  const steppers = [];

  const element = (name, properties) => Object.assign(document.createElement(name), properties);

  function stepper(figure) {
    const steps = [...figure.querySelectorAll(".steps > li")];
    if (steps.length < 2) return null;
    let now = 0;
    let timer = null;
    const controls = element("div", { className: "controls" });
    const back = element("button", { type: "button", textContent: "←" });
    const play = element("button", { type: "button", textContent: "Play" });
    const on = element("button", { type: "button", textContent: "→" });
    const slider = element("input", { type: "range", min: 1, max: steps.length, value: 1 });
    const count = element("output", {});
    back.setAttribute("aria-label", "Previous step");
    on.setAttribute("aria-label", "Next step");
    slider.setAttribute("aria-label", "Step");
    figure.querySelector(".steps").setAttribute("aria-live", "polite");

    function show(step) {
      now = (step + steps.length) % steps.length;
      steps.forEach((item, place) => item.classList.toggle("now", place === now));
      slider.value = now + 1;
      count.textContent = `${now + 1} of ${steps.length}`;
    }
    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }
    function step(by) {
      stop();
      show(now + by);
    }
    back.addEventListener("click", () => step(-1));
    on.addEventListener("click", () => step(1));
    slider.addEventListener("input", () => { stop(); show(slider.value - 1); });
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      play.textContent = "Pause";
      timer = setInterval(() => show(now + 1), PAUSE);
      show(now + 1);
    });
    figure.addEventListener("keydown", (event) => {
      if (event.target === slider) return; // it has arrow keys of its own
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      step(by);
    });
    controls.append(back, play, on, slider, count);
    figure.append(controls);
    figure.classList.add("live");
    show(0);
    return { figure, step };
  }

  for (const figure of document.querySelectorAll(".stepper")) {
    const made = stepper(figure);
    if (made) steppers.push(made);
  }

  // With no figure focused, arrow keys step the one nearest to the middle of the window.
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (document.activeElement !== document.body && document.activeElement !== null) return;
    const middle = window.innerHeight / 2;
    const distance = ({ figure }) => {
      const box = figure.getBoundingClientRect();
      return Math.abs((box.top + box.bottom) / 2 - middle);
    };
    const nearest = [...steppers].sort((a, b) => distance(a) - distance(b))[0];
    if (nearest) nearest.step(by);
  });
})();
