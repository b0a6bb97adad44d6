"""The Random Forest: settings, trees as flat arrays, and the engines that count votes."""
