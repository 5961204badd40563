course.data("elbo", {
"v": 2.0,
"b": 0.0,
"c": 1.0,
"x": 2.5
});
