"""What `minivision bench` does: the kernels measured beside their peers and beside the machine's own limits.

    suites.py     the layers that are measured, and the work each of them is
    problems.py   the arrays of one measurement, and what the result should be
    peers.py      the same work by PyTorch, ONNX Runtime and NumPy
    measure.py    timing in turns
    roofs.py      the fastest this machine can multiply and move memory
    training.py   whole training steps
    vision.py     single operations on pictures, beside Pillow, OpenCV and scikit-image
    finds.py      whole detections: faces, people; and HoG
    looks.py      whole looks into a network: occlusion, an attack, DeepDream
    bench.py      one run, from the suites to its rows
    report.py     the table, the summary, the file
    pictures.py   the ladder and the roofline
    tune.py       the table of rungs that are fastest here

All is measured in one run, the contestants in turns, with the same arrays and threads: times on shared machines drift, and
ratios of neighbours in time do not.
"""
