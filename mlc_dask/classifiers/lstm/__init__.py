"""The recurrent classifier: settings, network, training, and the engines that run the network."""
