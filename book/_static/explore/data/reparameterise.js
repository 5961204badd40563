course.data("reparameterise", {
"eps": {"shape": [24], "type": "float32", "base64": "zTxRv705Dr/toVO/mgKmv6odSr6Q3na/j2cDv6AtKECJMZI8Aj4DvhpWwb31VVc99Vt0PuA7x7851dI/5WeLv3h8Fb5bsmy+BsL/vhAboD7hMp69sGmvPsjnQb/Fc8i/"}
});
