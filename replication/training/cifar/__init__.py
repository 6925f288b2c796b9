"""The paper's CIFAR protocol (Section 5.2): the network and one run of it."""
