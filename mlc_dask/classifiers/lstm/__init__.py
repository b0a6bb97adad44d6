"""The recurrent classifier: settings, network, and the compiled, CUDA and Triton code that runs it.

Training, checkpoints, the PyTorch engine and the gate are in :mod:`mlc_dask.classifiers.torch_network`.
"""
