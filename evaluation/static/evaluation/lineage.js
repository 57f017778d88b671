// A wide picture opens on the thing that it is about.
for (const picture of document.querySelectorAll("[data-shows-centre]")) {
  const box = picture.querySelector(".node.centre .box");
  if (box) picture.scrollLeft = Number(box.getAttribute("x")) + Number(box.getAttribute("width")) / 2 - picture.clientWidth / 2;
}
