"""The recurrent classifier: settings, network, training, and the engines that it runs on."""
